#!/bin/sh
# Runs spec files, each in a process of its own, as many at once as there are cores: run_specs.sh LUA PATH..., where a path is a spec
# file or a folder of them. A process for each keeps small what a collection of garbage has to walk, and a crash within its file.
# A file that passed is one line; the others are shown whole when all have run; last comes busted's line of totals.
# Environment: JOBS, how many at once.
# Specs neither find nor keep built kernels and tuned sizes: they see what a new user sees, and a kernel is compiled for its launch alone.
set -u
export MOONLET_CACHE_DIR=off
totals_of() { grep -hE '^[0-9]+ success.* pending' "$@"; }

# One file: its output goes to a log, which is renamed when it passed. A process that ended otherwise than by its totals is an error.
if [ "$1" = --one ]; then
  lua=$2 log=$3/$(echo "$4" | tr '/ ' '__') file=$4
  "$lua" spec/support/run_busted.lua "$file" > "$log" 2>&1
  status=$?
  totals=$(totals_of "$log" | tail -n 1)
  case "$status $totals" in
    "0 "*" / 0 failures / 0 errors / "*) mv "$log" "$log.passed" ;;
    "0 " | *" " | *" / 0 failures / 0 errors / "*)
      totals="0 successes / 0 failures / 1 error / 0 pending : $file ended with status $status"
      echo "$totals" >> "$log" ;;
  esac
  echo "$file: $totals"
  exit 0
fi

lua=$1 start=$(date +%s)
shift
files=$(find "$@" -name '*_spec.lua' | LC_ALL=C sort)
case $(echo "$files" | grep -c .) in
  0) echo "run_specs.sh: no spec file in: $*" >&2; exit 2 ;;
  1) exec "$lua" spec/support/run_busted.lua "$files" ;;
esac
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
printf '%s\n' "$files" | xargs -P "${JOBS:-$(nproc 2>/dev/null || echo 2)}" -n 1 sh "$0" --one "$lua" "$logs"

cat "$logs"/*.passed 2>/dev/null | grep -A 1 '^Pending'
for log in "$logs"/*; do
  case $log in *.passed) ;; *) echo; cat "$log" ;; esac
done
totals=$(totals_of "$logs"/* | awk '
  function count(n, one, many) { return n " " (n == 1 ? one : many) }
  { s += $1; f += $4; e += $7; p += $10 }
  END { print count(s, "success", "successes"), "/", count(f, "failure", "failures"), "/", count(e, "error", "errors"), "/", p + 0, "pending" }')
echo
echo "$totals : $(($(date +%s) - start)) seconds"
case $totals in *" / 0 failures / 0 errors / "*) exit 0 ;; *) exit 1 ;; esac
