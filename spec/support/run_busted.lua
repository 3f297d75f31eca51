-- Runs busted inside whichever program runs this script, so that specs can run under the interpreter built here (sanitizers).
table.insert(arg, 1, "--ignore-lua") -- .busted names another
require("busted.runner")({ standalone = false })
