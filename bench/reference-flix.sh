#!/usr/bin/env bash
# The reference way, in our words: what a user does without flixwrap. An image is pulled and unpacked, each needed
# library is looked for with find, patchelf edits every file, mksquashfs packs.
# Usage: reference-flix.sh IMAGE NAME /usr/bin/PROGRAM OUTPUT   (IMAGE as skopeo knows it, or a folder; OUTPUT is a folder
# unless it ends with .raw)
set -euo pipefail
image=$1 name=$2 program=$3 output=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -d "$image" ]; then
  root=$image
else
  skopeo copy --quiet --src-tls-verify=false "$image" "oci:$work/layout:x"
  umoci raw unpack --image "$work/layout:x" "$work/root" >/dev/null 2>&1 || umoci unpack --image "$work/layout:x" "$work/bundle" >/dev/null 2>&1
  root=$work/root
  [ -d "$root" ] || root=$work/bundle/rootfs
fi
sysroot=/usr/local/$name
tree=$work/tree
mkdir -p "$tree$sysroot" "$tree$(dirname "$program")" "$tree/usr/lib/extension-release.d"
cp "$root$program" "$tree$program"

serve() { # FILE: its libraries, theirs, and its run path
  local file=$1 needed found
  for needed in $(patchelf --print-needed "$file"); do
    [ ! -e "$tree$sysroot/$needed" ] || continue
    found=$(find "$root/lib64" "$root/usr/lib64" "$root/lib" "$root/usr/lib" -name "$needed" 2>/dev/null | head -n 1 || true)
    [ -n "$found" ] || { echo "not found: $needed" >&2; exit 1; }
    cp -L "$found" "$tree$sysroot/$needed"
    case $needed in ld-linux*) continue ;; esac
    serve "$tree$sysroot/$needed"
  done
  patchelf --no-default-lib "$file"
  patchelf --set-rpath "$sysroot" "$file"
}
interpreter=$(patchelf --print-interpreter "$tree$program")
cp -L "$root$interpreter" "$tree$sysroot/$(basename "$interpreter")"
patchelf --set-interpreter "$sysroot/$(basename "$interpreter")" "$tree$program"
serve "$tree$program"
printf 'ID=_any\nARCHITECTURE=x86-64\n' > "$tree/usr/lib/extension-release.d/extension-release.$name"
rm -rf "$output"
case $output in
*.raw) ;;
*) cp -a "$tree" "$output" && exit ;;
esac
mksquashfs "$tree" "$output" -all-root -noappend -comp zstd -quiet -no-progress >/dev/null
