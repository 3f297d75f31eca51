-- What luacheck expects of our Lua files: only what every Lua from 5.1 on has, no globals, lines of 132 columns.
std = "min"
max_line_length = 132
self = false
unused_args = false -- base classes name what their methods take
cache = false
exclude_files = { "build/**" }
files["spec/**/*.lua"] = { std = "max+busted" } -- specs may ask which Lua runs them
files["examples/**/*_spec.lua"] = { std = "min+busted" }
files["examples/love/*.lua"] = { std = "min+love" }
files["**/*.rockspec"] = { std = "rockspec" }
