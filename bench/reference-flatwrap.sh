#!/bin/sh
# A wrapper as the shell tool makes it: a mkdir and a mount for every path. For bench/flatwrap.mjs.
# reference-flatwrap.sh ROOT EMPTY-FOLDER PROGRAM [ARGUMENT...]
if [ "$(id -u)" = 0 ] && [ "${INSIDE-}" != 1 ]; then
    INSIDE=1 exec unshare -m "$0" "$@"
elif [ "${INSIDE-}" != 1 ]; then
    INSIDE=1 exec unshare -m -U -r "$0" "$@"
fi
root=$1 view=$2
shift 2
mount -t tmpfs tmpfs "$view"
for path in usr lib lib64 bin sbin; do
    [ -e "$root/$path" ] || continue
    mkdir -p "$view/$path"
    mount --rbind "$root/$path" "$view/$path"
done
for path in dev etc home proc run sys tmp var var/tmp; do
    mkdir -p "$view/$path"
    mount --rbind "/$path" "$view/$path"
done
exec unshare --root "$view" --wd "$PWD" "$@"
