# shellcheck shell=sh disable=SC2154,SC2016,SC1003
# Sourced by every entry of @name@ with $flatwrap_program, $flatwrap_home and the program's arguments.
#
# In a new mount namespace, "root" beside this file becomes the read-only / and the host's parts listed in "mounts"
# are mounted into it. All ends in an exec: the process that was started becomes the program itself.
#   root         unshare, then nsenter, which goes to the topmost / of the mount namespace
#   anyone else  bwrap; without it or with NOBWRAP=1 the same by user namespaces
# Of unshare, nsenter and mount only that is used which util-linux and busybox have in common.

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

# Who runs this? And if it is root: may it mount (CAP_SYS_ADMIN, bit 21)? Read here, as id(1) would take longer than
# all of this file.
flatwrap_user='' flatwrap_group='' flatwrap_caps=''
while read -r flatwrap_key flatwrap_first flatwrap_second _; do
    case $flatwrap_key$flatwrap_user in
    Uid:) flatwrap_user=$flatwrap_second ;;
    Gid:0) flatwrap_group=$flatwrap_second ;;
    Gid:*) flatwrap_group=$flatwrap_second && break ;;
    CapEff:*) flatwrap_caps=$flatwrap_first && break ;;
    esac
done </proc/self/status
[ -n "$flatwrap_group" ] || flatwrap_fail '/proc is needed and not mounted'
case $flatwrap_user:$flatwrap_caps in
0:*[2367abef]?????) flatwrap_way=as-root ;;
0:*) flatwrap_way=as-user ;;
*) if [ -z "${NOBWRAP-}" ] && command -v bwrap >/dev/null; then flatwrap_way=bwrap; else flatwrap_way=as-user; fi ;;
esac
[ "${FLATWRAP_VIA-}" != bwrap ] || flatwrap_way=bwrap

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

if [ $flatwrap_way = bwrap ]; then
    flatwrap_need bwrap
    set -- --chdir "$flatwrap_folder" -- "$flatwrap_program" "$@"
    # The root's own files before the host's: only where the host has some, as bwrap would make them there.
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
        [ $tries -lt 100 ] || sleep 0.01
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
