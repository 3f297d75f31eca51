#!/bin/sh
# Installs into an empty folder, uses what is there as a stranger would, uninstalls: install_check.sh BUILD_DIR LUA.
set -eu
build=$1 lua=$2
cc=${CC:-cc}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
make -s O="$build" DESTDIR="$root" PREFIX=/opt/moonlet install
PKG_CONFIG_PATH=$root/opt/moonlet/lib/pkgconfig
PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR

cat > "$root/use.c" <<'END'
#include <moonlet.h>
int main(void) {
  moon_runtime *runtime = moon_runtime_new(0);
  moon_context *ctx = moon_context_new(runtime);
  int ok = ctx != 0;
  moon_context_release(ctx);
  moon_runtime_release(runtime);
  return ok ? 0 : 1;
}
END
# Words of pkg-config are meant to be split.
$cc -std=c99 -Wall -Wextra -Werror -pedantic $(pkg-config --cflags moonlet) -o "$root/shared" "$root/use.c" $(pkg-config --libs moonlet)
LD_LIBRARY_PATH=$root/opt/moonlet/lib "$root/shared"
mv "$root/opt/moonlet/lib/libmoonlet.so" "$root/hidden"
$cc -std=c99 $(pkg-config --cflags moonlet) -o "$root/static" "$root/use.c" $(pkg-config --static --libs moonlet)
"$root/static"
mv "$root/hidden" "$root/opt/moonlet/lib/libmoonlet.so"

# Away from the checkout the Lua files are those inside the library.
(
  cd "$root"
  LUA_CPATH="$root/opt/moonlet/lib/lua/5.4/?.so" "$lua" -e 'local ml = require "moonlet" assert(ml.nn.Dense { 3 } (ml.ones { 2, 4 }).shape[2] == 3)'
  opt/moonlet/bin/moonlet -e 'assert(require("moonlet").ones({ 2 }):sum():item() == 2)'
)
make -s O="$build" DESTDIR="$root" PREFIX=/opt/moonlet uninstall
left=$(find "$root/opt" -type f)
[ -z "$left" ] || { echo "uninstall leaves: $left" >&2; exit 1; }
echo "install: headers, libraries, module and program work where they were put"
