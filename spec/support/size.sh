#!/bin/sh
# Says how large the shipped files are when stripped, and how long `require "moonlet"` takes: size.sh BUILD_DIR LUA.
set -eu
build=$1 lua=$2
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
for file in libmoonlet.so moonlet.so moonlet examples/host/single; do
  [ -f "$build/$file" ] || continue
  strip -o "$stripped" "$build/$file"
  printf '%-14s %9d bytes stripped\n' "${file##*/}" "$(wc -c < "$stripped")"
done
if ls "$build"/obj/backends/opencl/*.o >/dev/null 2>&1; then
  size "$build"/obj/backends/opencl/*.o | awk 'NR > 1 { n += $1 + $2 } END { printf "%-14s %9d bytes of each are the OpenCL backend\n", "opencl", n }'
fi
# The Lua files inside the library, as users have them, not those of the checkout: the module is loaded from elsewhere.
folder=$(mktemp -d)
trap 'rm -rf "$stripped" "$folder"' EXIT
cp "$build/moonlet.so" "$folder"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  "$lua" -e "package.cpath = '$folder/?.so' local start = os.clock() require 'moonlet' print((os.clock() - start) * 1000)"
done | sort -n | awk '{ t[NR] = $1 } END { printf "%-14s %9.2f ms, the best of %d, %.2f the worst\n", "require", t[1], NR, t[NR] }'
