# shellcheck shell=sh disable=SC2154,SC2016,SC1003
# Sourced by every entry of @name@ with $flatwrap_program, $flatwrap_home and the program's arguments.
#
# In a new mount namespace, "root" beside this file becomes the read-only / and the host's parts listed in "mounts"
# are mounted into it. The first of these ways that is there and allowed is taken:
#   start   the starters beside this file: the system calls of the last way, in one process (made for most machines)
#   bwrap   without NOBWRAP=1, and not for root
#   unshare, nsenter and mount, with nothing but what util-linux and busybox have in common
# All but bwrap end in an exec: the process that was started becomes the program itself. FLATWRAP_VIA=WAY chooses.

flatwrap_say() {
    printf 'flatwrap: %s: %s\n' "$flatwrap_program" "$1" >&2
}

flatwrap_fail() {
    flatwrap_say "$1"
    exit 126
}

flatwrap_need() {
    for flatwrap_tool; do
        command -v "$flatwrap_tool" >/dev/null || flatwrap_fail "$flatwrap_tool is needed and not in PATH"
    done
}

# Who runs this? Read here, as id(1) would take longer than all of this file.
flatwrap_user='' flatwrap_group=''
while read -r flatwrap_key _ flatwrap_id _; do
    case $flatwrap_key in
    Uid:) flatwrap_user=$flatwrap_id ;;
    Gid:) flatwrap_group=$flatwrap_id && break ;;
    esac
done </proc/self/status
[ -n "$flatwrap_group" ] || flatwrap_fail '/proc is needed and not mounted'

@required@
# The working folder stays, where the program sees it, too. Its name must be free of links, which inside may lead
# elsewhere; mostly it is, and then no process is spent on it.
flatwrap_folder=$PWD
flatwrap_part=$PWD
while [ -n "$flatwrap_part" ] && [ ! -L "$flatwrap_part" ]; do flatwrap_part=${flatwrap_part%/*}; done
if [ -n "$flatwrap_part" ]; then
    flatwrap_folder=$(pwd -P && echo .)
    flatwrap_folder=${flatwrap_folder%??}
fi
flatwrap_sees_folder() {
    # shellcheck disable=SC3013 # dash, bash, busybox and POSIX.1-2024 have -ef
    [ "${flatwrap_folder:-?}" -ef . ] || return
    case $flatwrap_folder/ in
    @visible@) ;;
    *) [ -d "$flatwrap_home/root$flatwrap_folder" ] ;;
    esac
}
if ! flatwrap_sees_folder; then
    flatwrap_say "starts in /, since it does not see ${flatwrap_folder:-the working folder (deleted?)}"
    flatwrap_folder=/
fi

# Programs that bring their own AppArmor profile may make user namespaces where others must not (Ubuntu 24.04).
flatwrap_restricted=0
if [ -e /proc/sys/kernel/apparmor_restrict_unprivileged_userns ]; then
    read -r flatwrap_restricted </proc/sys/kernel/apparmor_restrict_unprivileged_userns
fi
case ${FLATWRAP_VIA:-start}:$flatwrap_user:$flatwrap_restricted in
start:0:*) flatwrap_start=$flatwrap_home/start-as-root ;;
start:*:0) flatwrap_start=$flatwrap_home/start-as-user ;;
start:* | bwrap:* | unshare:*) flatwrap_start='' ;;
*) flatwrap_fail "FLATWRAP_VIA is start, bwrap or unshare, not $FLATWRAP_VIA" ;;
esac
if [ -x "$flatwrap_start" ] && [ -z "${FLATWRAP_LOG-}${flatwrap_tried-}" ]; then
    # The kernel's maps; the starter takes the first 24 bytes of each.
    exec "$flatwrap_start" "$flatwrap_home/again" "$flatwrap_home" "$flatwrap_folder" \
        "$flatwrap_user $flatwrap_user 1                    " "$flatwrap_group $flatwrap_group 1                    " \
        sh "$flatwrap_program" "$@"
fi
[ "${FLATWRAP_VIA-}" != start ] || flatwrap_fail 'no starter for this machine, or the kernel refuses it a namespace'

# May root mount (CAP_SYS_ADMIN, bit 21)?
flatwrap_way=as-user
if [ "$flatwrap_user" = 0 ]; then
    while read -r flatwrap_key flatwrap_caps; do
        [ "$flatwrap_key" != CapEff: ] || break
    done </proc/self/status
    case $flatwrap_caps in
    *[2367abef]?????) flatwrap_way=as-root ;;
    esac
elif [ -z "${NOBWRAP-}${FLATWRAP_LOG-}" ] && command -v bwrap >/dev/null; then
    flatwrap_way=bwrap
fi
case ${FLATWRAP_VIA-}:$flatwrap_way in
bwrap:*) flatwrap_way=bwrap ;;
unshare:bwrap) flatwrap_way=as-user ;;
esac

if [ $flatwrap_way = bwrap ]; then
    flatwrap_need bwrap
    set -- --chdir "$flatwrap_folder" -- "$flatwrap_program" "$@"
    @over@
    set -- \
        --ro-bind "$flatwrap_home/root" / \
        @binds@
        "$@"
    exec bwrap "$@"
fi

flatwrap_need unshare nsenter mount

if [ $flatwrap_way = as-root ]; then
    exec unshare -m --propagation slave sh -c '
        (cd "$1" && exec mount -a -T mounts) 2>"${FLATWRAP_LOG:-/dev/null}"
        if [ / -ef /.. ]; then
            printf "flatwrap: %s: cannot mount %s/root; FLATWRAP_LOG=FILE has the reasons\n" "$3" "$1" >&2
            exit 126
        fi
        folder=$2 && shift 2
        exec nsenter -m/proc/self/ns/mnt -w"/..$folder" "$@"
    ' flatwrap "$flatwrap_home" "$flatwrap_folder" "$flatwrap_program" "$@"
fi

# mount(8) wants to be root, the program shall not be. So mounts are made in a user namespace whose root is the caller,
# and are propagated to the mount namespace of one below it, in which the caller is itself. The process that holds those
# two open ends by itself when this one has joined them.
flatwrap_holder=$(unshare -U -r -m --propagation shared sh -c '
    unshare -U -m --propagation slave sh -c "$5" flatwrap "$4" >/dev/null 2>&1 </dev/null &
    tries=0
    until echo "$2 0 1" >/proc/$!/uid_map; do
        tries=$((tries + 1))
        [ $tries -lt 500 ] || sleep 0.01
        [ $tries -lt 1000 ] || exit
    done 2>/dev/null
    echo deny >/proc/$!/setgroups && echo "$3 0 1" >/proc/$!/gid_map || exit
    cd "$1" && mount -a -T mounts
    [ / -ef /.. ] || echo $!
' flatwrap "$flatwrap_home" "$flatwrap_user" "$flatwrap_group" $$ '
    tries=0
    until [ "/proc/$1/ns/mnt" -ef /proc/self/ns/mnt ] || [ ! -d "/proc/$1" ] || [ $tries -gt 1000 ]; do
        sleep 0.01
        tries=$((tries + 1))
    done
' 2>"${FLATWRAP_LOG:-/dev/null}")
[ -n "$flatwrap_holder" ] || flatwrap_fail 'user namespaces do not work here, and bwrap is not used; FLATWRAP_LOG=FILE has the reasons'
exec nsenter -t "$flatwrap_holder" -U -m --preserve-credentials \
    -w"/proc/$flatwrap_holder/root/..$flatwrap_folder" "$flatwrap_program" "$@"
