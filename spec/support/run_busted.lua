-- Runs busted inside whichever program runs this script, so that specs can run under the interpreter built here (sanitizers).
require("busted.runner")({ standalone = false })
