--- Specs of the program's prompt: values, unfinished lines, errors, Ctrl-C, as a script of the shell sees them; history and
-- completion, as on a terminal.
local build = os.getenv "MOONLET_BUILD" or "build"

-- Runs a script of the shell, where $moonlet is the program, `say` writes a line to its prompt, and `wait_for` waits until its
-- output has a word.
local function talk(script)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(([[
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
mkfifo "$dir/in"
'%s/moonlet' <"$dir/in" >"$dir/out" 2>&1 &
pid=$!
exec 3>"$dir/in"
say() { printf '%%s\n' "$1" >&3; }
wait_for() { until grep -q "$1" "$dir/out"; do sleep 0.01; done; }
%s
exec 3>&-
wait $pid
echo "ended with $?" >>"$dir/out"
cat "$dir/out"
]]):format(build, script))
  file:close()
  local pipe = assert(io.popen("timeout -k 1 60 sh " .. path))
  local text = pipe:read "a"
  pipe:close()
  os.remove(path)
  return text
end

describe("the prompt", function()
  it("shows values, takes lines that go on, and lives through errors", function()
    local text = talk [[
say 'x = ml.tensor { 1, 2 }'
say 'x * 2'
say 'for i = 1, 2 do'
say 'print("turn " .. i)'
say 'end'
say 'error("boom")'
say 'x:nothing()'
say '1, "two"'
]]
    assert.truthy(text:find("Tensor f32 (2) [2  4]", 1, true), text)
    assert.truthy(text:find("turn 1\nturn 2\n", 1, true), text)
    assert.truthy(text:find("prompt:1: boom\nstack traceback", 1, true), text)
    assert.truthy(text:find("method 'nothing'", 1, true), text)
    assert.truthy(text:find("1\ttwo", 1, true), text)
    assert.truthy(text:find("ended with 0", 1, true), text)
  end)

  it("stops the line that runs at Ctrl-C, and goes on", function()
    local text = talk [[
say 'kept = 41; io.write("first\n") io.flush() while true do end'
wait_for first
kill -INT $pid
wait_for interrupted
say 'io.write("second\n") io.flush() while true do ml.ones { 8 } end'
wait_for second
kill -INT $pid
until [ "$(grep -c interrupted "$dir/out")" = 2 ]; do sleep 0.01; done
say 'kept + 1'
wait_for 42
say 'do'
kill -INT $pid
]]
    assert.truthy(text:find("moonlet: interrupted\nstack traceback", 1, true), text)
    assert.truthy(text:find("42\n", 1, true), text)
    assert.truthy(text:find("ended with 0", 1, true), text)
  end)
end)

describe("the prompt on a terminal", function()
  local UP, TAB, ENTER, END = "\27[A", "\t", "\r", "\4"
  local NEXT = "\r\n> " -- the end of an answer, and the next prompt

  -- Waits for each first word, then types the second.
  local function type_in(...)
    local words = {}
    for i, word in ipairs { ... } do words[i] = "'" .. word:gsub("'", "'\\''") .. "'" end
    -- libedit leaves memory behind when it ends, which is not ours to find.
    local command = "ASAN_OPTIONS=detect_leaks=0 TERM=xterm '%s/spec/lua/pty' '%s/moonlet' %s 2>&1"
    command = command:format(build, build, table.concat(words, " "))
    local pipe = assert(io.popen(command))
    local text = pipe:read "a"
    pipe:close()
    if not text:find("\27[", 1, true) then return nil end -- built without libedit
    assert.truthy(text:find("ended with 0", 1, true), text)
    return text
  end

  it("brings lines back with Up, and again", function()
    local text = type_in("> ", "kept = 40" .. ENTER, NEXT, "kept + 1" .. ENTER, "41" .. NEXT, "kept = 7" .. ENTER, NEXT,
      UP .. UP .. ENTER, "8" .. NEXT, UP .. UP .. UP .. UP .. ENTER, NEXT, "'it is ' .. kept" .. ENTER, "\nit is 40" .. NEXT, END)
    if not text then return pending "built without libedit" end
  end)

  it("completes names of globals, fields and methods, and lists what there is", function()
    local text = type_in("> ", "only_one_has_this_name = ml.ones { 2 }" .. ENTER, NEXT, "only_one" .. TAB .. ENTER,
      "Tensor f32 (2) [1  1]" .. NEXT, "only_one_has_this_name:totab" .. TAB .. "()[2] + 41" .. ENTER, "\n42.0" .. NEXT,
      "ml.nn.Conv" .. TAB, "Conv2DTranspose", "1D == ml.nn.Conv1" .. TAB .. ENTER, "\ntrue" .. NEXT,
      "ml.metr" .. TAB .. " ~= nil and ml.lo" .. TAB, "logsumexp",
      "g1p(ml.zeros { 2 })" .. ENTER, "Tensor f32 (2) [0  0]" .. NEXT, END)
    if not text then return pending "built without libedit" end
  end)
end)
