--- Rows for the table that is shipped: `make tune`, `make tune ONLY=gpt_train`. Tunes each workload in RUNS processes of its own; a
-- row counts when all of them found one for its key and kept it, and is that of the run in which it was fastest. Prints the rows of
-- tuned.def with the new ones in place of those of the same key, and on stderr what each gains.
-- `moonlet spec/bench/tune.lua NAME SECONDS` is one such process.
local ml = require("moonlet")
local workload = require("spec.bench.workload")

local RUNS, SECONDS, FILE = 3, 10, "backends/cpu/tuned.def"

if arg[2] then
  local t = ml.tune(workload.make(arg[1]).program, { seconds = tonumber(arg[2]), save = false })
  io.stderr:write(arg[1], ": ", t.note, "\n")
  for _, row in ipairs(t) do
    if row.row and t.kept then print(row.before_us, row.after_us, row.row) end
  end
  return
end

local function key_of(row)
  return (row:match "^%S+ %S+ %S+ %S+ %S+")
end

-- What all runs found better: key -> { row, before, after }.
local function wins_of(name)
  local found = {}
  for _ = 1, RUNS do
    local build = os.getenv("MOONLET_BUILD") or "build"
    local pipe = io.popen(("MOONLET_CACHE_DIR=off %s/moonlet spec/bench/tune.lua %s %d"):format(build, name, SECONDS))
    for line in pipe:lines() do
      local before, after, row = line:match "^(%S+)\t(%S+)\t(.*)$"
      local key = key_of(row)
      local win = found[key] or { count = 0, after = math.huge }
      found[key], win.count = win, win.count + 1
      if tonumber(after) < win.after then win.row, win.before, win.after = row, tonumber(before), tonumber(after) end
    end
    pipe:close()
  end
  return found
end

local rows = {}
local file = io.open(FILE)
for line in file and file:lines() or function() end do
  local row = line:match '^ROW%("(.*)"%)$'
  if row then rows[key_of(row)] = row end
end
if file then file:close() end

for _, row in ipairs(workload.ROWS) do
  local only = arg[1] or ""
  for key, win in pairs((only == "" or row[1]:find(only, 1, true) == 1) and wins_of(row[1]) or {}) do
    if win.count == RUNS then
      rows[key] = win.row
      io.stderr:write(("%s: %.1f -> %.1f us: %s\n"):format(row[1], win.before, win.after, win.row))
    end
  end
end

local list = {}
for _, row in pairs(rows) do list[#list + 1] = row end
table.sort(list)
for _, row in ipairs(list) do print(('ROW("%s")'):format(row)) end
