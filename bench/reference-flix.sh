#!/usr/bin/env bash
# The reference way, in our words: what a user does without flixwrap. An image is pulled and unpacked, each needed
# library is looked for with find, patchelf edits every file, mksquashfs packs. Per file it does what the shell tool
# does, in as many steps: needed names, find in all library folders (those of ld.so.conf, too), realpath, cp, run path,
# needed names once more (a loader must not be edited), one edit.
# Usage: reference-flix.sh IMAGE NAME /usr/bin/PROGRAM OUTPUT   (IMAGE as skopeo knows it, or a folder; OUTPUT is a folder
# unless it ends with .raw)
set -euo pipefail
image=$1 name=$2 program=$3 output=$4
work=$(mktemp -d "$(dirname "$output")/reference.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ -d "$image" ]; then
  root=$(realpath "$image")
else
  skopeo copy --quiet --src-tls-verify=false "$image" "oci:$work/layout:x"
  umoci raw unpack --image "$work/layout:x" "$work/root" >/dev/null 2>&1 || umoci unpack --image "$work/layout:x" "$work/bundle" >/dev/null 2>&1
  root=$work/root
  [ -d "$root" ] || root=$work/bundle/rootfs
fi
sysroot=/usr/local/$name
tree=$work/tree
mkdir -p "$tree$sysroot" "$tree$(dirname "$program")" "$tree/usr/lib/extension-release.d"
cp -a "$root$program" "$tree$program"

serve() { # FILE: its libraries, theirs, and its run path
  local file=$1 needed found folders line
  folders=("$root"/{lib64,usr/lib64,usr/local/lib64,lib,usr/lib,usr/local/lib})
  for line in $(cat "$root"/etc/ld.so.conf "$root"/etc/ld.so.conf.d/* 2>/dev/null | grep '^/' || true); do
    folders+=("$root$line")
  done
  for needed in $(patchelf --print-needed "$file"); do
    [ ! -e "$tree$sysroot/$needed" ] || continue
    found=$({ find "${folders[@]}" -name "$needed" 2>/dev/null || true; } | head -n 1)
    [ -n "$found" ] || { echo "not found: $needed" >&2; exit 1; }
    cp -a "$(realpath "$found")" "$tree$sysroot/$needed"
    serve "$tree$sysroot/$needed"
  done
  patchelf --print-rpath "$file" >/dev/null
  if [ -n "$(patchelf --print-needed "$file")" ]; then
    patchelf --no-default-lib --set-rpath "$sysroot" "$file"
  fi
}
interpreter=$(patchelf --print-interpreter "$tree$program")
cp -aL "$root$interpreter" "$tree$sysroot/$(basename "$interpreter")"
patchelf --set-interpreter "$sysroot/$(basename "$interpreter")" "$tree$program"
serve "$tree$program"
printf 'ID=_any\nARCHITECTURE=x86-64\n' > "$tree/usr/lib/extension-release.d/extension-release.$name"
rm -rf "$output"
case $output in
*.raw) mksquashfs "$tree" "$output" -all-root -noappend -comp zstd -quiet -no-progress >/dev/null ;;
*) mv "$tree" "$output" ;;
esac
