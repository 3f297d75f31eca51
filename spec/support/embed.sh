#!/bin/sh
# Writes lua/moonlet/**/*.lua as C data to standard output: embed.sh [PARTS], run at the top of the checkout; PARTS such as "rl testing"
# are left out. Comments that are lines of their own and indentation are left out too, a quarter of the bytes; lines keep their
# numbers. So long strings may not be used there.
set -eu
files=$(find lua/moonlet -name '*.lua' | LC_ALL=C sort)
for part in "$@"; do files=$(printf '%s\n' $files | grep -vE "^lua/moonlet/$part(\.lua|/)"); done
if grep -nE '\[=*\[|\\$' $files >&2; then echo "embed.sh: long strings and comments are not for lua/moonlet" >&2; exit 1; fi
echo '/* Made by spec/support/embed.sh: the Lua files of the library. */'
echo '#include "embed.h"'
i=0
for f in $files; do
  i=$((i + 1))
  echo "static const unsigned char data_$i[] = {"
  sed -E 's/^ +//; s/^--.*//' "$f" | od -An -v -tu1 | awk '{ for (k = 1; k <= NF; k++) printf "%s,", $k; print "" } END { print "0};" }'
done
echo 'const moon_embed moon__embed[] = {'
i=0
for f in $files; do
  i=$((i + 1))
  chunk=${f#lua/}
  module=$(echo "${chunk%.lua}" | tr / .)
  [ "$module" = moonlet.init ] || module=${module%.init}
  echo "  {\"$module\", \"=$chunk\", data_$i, sizeof data_$i - 1},"
done
echo '  {0, 0, 0, 0},'
echo '};'
