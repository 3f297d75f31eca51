rockspec_format = "3.0"
package = "moonlet"
version = "0.1.0-1"
source = { url = "git+https://github.com/moonlet/moonlet.git", tag = "v0.1.0" }
description = {
  summary = "Deep learning for Lua, written in C, small enough for a game",
  detailed = "Models are defined symbolically in Lua, differentiated and optimised as graphs, and run as flat lists of kernels.",
  license = "MIT",
}
dependencies = { "lua >= 5.1, < 5.5" }
build = {
  type = "make",
  build_variables = { CFLAGS = "$(CFLAGS)", LUA_INCDIR = "$(LUA_INCDIR)", O = "build/rock" },
  build_target = "rock",
  install_target = "rock-install",
  install_variables = { LIBDIR = "$(LIBDIR)", O = "build/rock" },
}
test = { type = "busted" }
