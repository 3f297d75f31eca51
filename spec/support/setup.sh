#!/bin/sh
# Installs what building and testing need: setup.sh [build|test|abi|doc|ci], or setup.sh peers VENV for the frameworks that
# benchmarks run beside ours. On Debian and its relatives through apt (with sudo when not
# root); elsewhere it says what is missing and stops.
set -eu
what=${1:-build}
build="gcc make pkg-config liblua5.4-dev lua5.4 libedit-dev"
test="$build lua-busted"
abi="$build luajit libluajit-5.1-dev lua5.1 liblua5.1-0-dev lua5.2 liblua5.2-dev lua5.3 liblua5.3-dev"
doc="$build lua-ldoc"
peers="$build g++ python3 python3-venv"
opencl="pocl-opencl-icd ocl-icd-libopencl1"
ci="$test $abi $doc $opencl lua-check clang clang-format libclang-rt-dev luarocks love xvfb xauth libsdl2-dev neovim haproxy mpv minetest-server libopenblas0-serial"
case $what in
  build) packages=$build ;;
  test) packages=$test ;;
  abi) packages=$abi ;;
  doc) packages=$doc ;;
  ci) packages=$ci ;;
  peers) packages=$peers ;;
  *) echo "setup.sh: build, test, abi, doc, ci or peers" >&2; exit 2 ;;
esac

# tinygrad's next version runs the parts of its CPU device one after another.
install_peers() {
  [ "$what" = peers ] || return 0
  [ -e "$1/ready" ] && return 0
  [ -e "$1/bin/python" ] || python3 -m venv "$1"
  "$1/bin/pip" install -q numpy torch tensorflow-cpu jax onnxruntime onnx tinygrad==0.13.0
  touch "$1/ready"
}

missing=""
if command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
  for p in $packages; do
    # clang's runtime is packaged by version; the unversioned name exists in newer releases only.
    if [ "$p" = libclang-rt-dev ]; then
      ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.asan-* >/dev/null 2>&1 && continue
    fi
    if [ "$p" = minetest-server ] && command -v luanti >/dev/null 2>&1; then continue; fi # its name in newer releases
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "install ok installed" || missing="$missing $p"
  done
  [ -z "$missing" ] && install_peers "${2:-}" && exit 0
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq || true
  for p in $missing; do
    if [ "$p" = libclang-rt-dev ] && ! apt-cache show "$p" >/dev/null 2>&1; then
      p=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev/p' | head -n 1)
    fi
    if [ "$p" = minetest-server ] && ! apt-cache show "$p" >/dev/null 2>&1; then p=luanti; fi
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$p" >/dev/null
  done
  install_peers "${2:-}"
  exit 0
fi

for tool in cc make pkg-config lua5.4; do command -v $tool >/dev/null 2>&1 || missing="$missing $tool"; done
pkg-config --exists lua5.4 2>/dev/null || pkg-config --exists lua-5.4 2>/dev/null || missing="$missing lua-5.4-headers"
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $1"; }
case $what in
  test) need busted ;;
  abi) for tool in luajit lua5.1 lua5.2 lua5.3; do need $tool; done ;;
  doc) need ldoc ;;
  peers) need python3; need g++ ;;
  ci) for tool in busted luajit lua5.1 lua5.2 lua5.3 ldoc luacheck clang clang-format; do need $tool; done ;;
esac
[ -z "$missing" ] && install_peers "${2:-}" && exit 0
echo "This system has no apt. Please install:$missing" >&2
echo "(a C11 compiler, GNU make, pkg-config, Lua 5.4 with its headers; for tests busted from LuaRocks; libedit is optional)" >&2
exit 1
