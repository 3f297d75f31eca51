#!/bin/sh
# Rules that a compiler does not check: which room includes which, where the operating system and output are called, Lua's dialect.
set -u
bad=0
complain() { echo "lint: $1"; bad=1; }

# core knows no Lua, no backend, no BLAS, no OpenCL; backends know no Lua; lua/bind sees the core through its headers.
grep -nE '#include [<"](lua|lauxlib|cblas|CL/)' -r core backends --include='*.[ch]' && complain "core and backends may not see Lua, BLAS or OpenCL headers"
grep -nE '#include "(cpu|backends)' -r core --include='*.[ch]' && complain "core may not include a backend"
grep -nE '#include "(cpu|backends)' -r lua --include='*.[ch]' && complain "the binding may not include a backend"
grep -nE '#include <(pthread|unistd|fcntl|dlfcn|sys/|sched|time)' -r core backends --include='*.[ch]' | grep -v '^core/base/os.c' && complain "calls to the operating system belong to core/base/os.c"
grep -nE '(^|[^a-z_])(printf|puts|abort|exit|setenv|srand|rand|signal|setlocale)\(' -r core backends lua/bind --include='*.[ch]' | grep -vE '^[^:]*:[0-9]*: *(/?\*|\*\*)' && complain "the library neither prints nor exits"
grep -nE '#include "[^"]*\.c"' -r core backends lua --include='*.[ch]' && complain "no .c is included"
git ls-files -z '*.c' '*.h' '*.lua' '*.def' | xargs -0 grep -nE 'TODO|FIXME|XXX' && complain "something is left open"
git ls-files -z '*.c' '*.h' '*.lua' '*.def' | xargs -0 wc -l | awk '$1 > 800 && $2 != "total" { print "lint: " $2 " has " $1 " lines: which two ideas share it?"; bad = 1 } END { exit bad }' || bad=1
# Every function of the public header is commented or belongs to a commented group.
if command -v luacheck >/dev/null 2>&1; then
  luacheck -q --no-color lua spec examples *.rockspec || bad=1
else
  complain "luacheck is not installed (lua-check)"
fi
[ $bad = 0 ] && echo "lint: clean"
exit $bad
