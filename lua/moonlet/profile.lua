--- Where the time goes: `ml.profile(function() ... end)`.
-- Here: tables by op and by layer, and traces for Perfetto, made of what the executor noted about each launch. Invariant: while no
-- profile is being made, nothing is noted and nothing is timed.
-- @module moonlet.profile
-- @usage ml.profile(function() model:train_on_batch(x, y) end)
-- ml.profile(function() model:fit(data) end, { trace = "fit.json" })   -- open it in ui.perfetto.dev
-- local p = ml.profile(f, { print = false })
-- print(p.ops[1].name, p.ops[1].us, p.ops[1].gflops)

local core = require "moonlet.core"
local host = require "moonlet.host"
local util = require "moonlet.util"

local profile = {}

local OPTIONS = {
  { "trace", "string" }, { "print", "boolean", default = true }, { "rows", "count", default = 20 }, { "limits", "table" },
}

-- ---- Limits: measured once in a process for each device, or given ----

local measured = {}

--- What the device can do at most: `gflops` (multiply-adds from registers, each counted two), `read_gbps`, `copy_gbps`, for
-- `threads` threads. Measured when it is first asked for, which takes about 0.2 s.
-- @treturn table|nil nil where it is not known
function profile.limits()
  local device = core.device()
  if measured[device] == nil then measured[device] = core.limits() or false end
  return measured[device] or nil
end

-- The least time, in us, that this arithmetic and these bytes need: whichever takes longer.
local function least_us(limits, flops, bytes)
  return math.max(flops / limits.gflops, bytes / math.max(limits.read_gbps, limits.copy_gbps)) / 1e3
end

-- ---- Rows ----

local function add(groups, name, launch, limits)
  local row = groups.by_name[name]
  if not row then
    row = { name = name, calls = 0, us = 0, flops = 0, bytes = 0, least_us = 0 }
    groups.by_name[name] = row
    groups.list[#groups.list + 1] = row
  end
  row.calls = row.calls + launch.calls
  row.us = row.us + launch.us
  row.flops = row.flops + launch.flops * launch.calls
  row.bytes = row.bytes + launch.bytes * launch.calls
  if limits then row.least_us = row.least_us + launch.calls * least_us(limits, launch.flops, launch.bytes) end
end

local function slower(a, b)
  if a.us ~= b.us then return a.us > b.us end
  return a.name < b.name
end

local function finish(groups, total_us, limits)
  local rows = groups.list
  for _, row in ipairs(rows) do
    row.share = total_us > 0 and row.us / total_us or 0
    row.gflops = row.us > 0 and row.flops / row.us / 1e3 or 0
    row.gbps = row.us > 0 and row.bytes / row.us / 1e3 or 0
    row.limit_percent = limits and row.us > 0 and 100 * row.least_us / row.us or nil
    row.least_us = nil
  end
  table.sort(rows, slower)
  return rows
end

local function layer_of(launch)
  return launch.layer ~= "" and launch.layer or "(no layer)"
end

local function group(launches, total_us, limits)
  local ops, layers, each = { by_name = {}, list = {} }, { by_name = {}, list = {} }, { by_name = {}, list = {} }
  for i, launch in ipairs(launches) do
    add(ops, launch.kernel == launch.op and launch.name or launch.name .. ": " .. launch.kernel, launch, limits)
    add(layers, layer_of(launch), launch, limits)
    add(each, i, launch, limits)
  end
  for i, row in ipairs(each.list) do
    local launch = launches[i]
    row.name, row.kernel, row.why, row.operands = launch.name, launch.kernel, launch.why, launch.operands
    row.layer, row.line = launch.layer, launch.line
  end
  return finish(ops, total_us, limits), finish(layers, total_us, limits), finish(each, total_us, limits)
end

-- ---- The text ----

local function number(x)
  if x >= 99.95 then return string.format("%.0f", x) end
  return string.format("%.1f", x)
end

local function time_text(us)
  if us >= 1e6 then return string.format("%.2f s", us / 1e6) end
  if us >= 1e3 then return string.format("%.2f ms", us / 1e3) end
  return string.format("%.1f us", us)
end

local function cut(text, width)
  return #text > width and text:sub(1, width - 2) .. ".." or text
end

local NAME_WIDTH = 62

local function row_text(name, row)
  local limit = row.limit_percent and string.format("%6.0f %%", row.limit_percent) or "       -"
  return string.format("%-" .. NAME_WIDTH .. "s %7d %10s %6.1f %% %9s %8s %s", cut(name, NAME_WIDTH), row.calls, time_text(row.us),
    100 * row.share, number(row.gflops), number(row.gbps), limit)
end

local function table_text(lines, title, rows, most, name_of)
  lines[#lines + 1] = string.format("%-" .. NAME_WIDTH .. "s %7s %10s %8s %9s %8s %8s", title, "calls", "time", "share", "GFLOP/s",
    "GB/s", "of limit")
  for i = 1, math.min(#rows, most) do lines[#lines + 1] = row_text(name_of(rows[i]), rows[i]) end
  if #rows > most then
    local rest = 0
    for i = most + 1, #rows do rest = rest + rows[i].us end
    lines[#lines + 1] = string.format("... %d more, %s", #rows - most, time_text(rest))
  end
  lines[#lines + 1] = ""
end

local function name_of(row) return row.name end

--- @type Profile
local Profile = util.class("Profile")

function Profile:init(found, settings, limits)
  self.wall_us, self.launches_us, self.limits = found.wall_us, found.launches_us, limits
  self.lost = found.lost > 0 and found.lost or nil
  self.rows = settings.rows
  self.ops, self.layers, self.launches = group(found.launches, found.launches_us, limits)
end

--- The tables by op and by layer; `print(p)` shows them.
-- @treturn string
function Profile:text()
  local lines = {}
  local wall, inside = time_text(self.wall_us), time_text(self.launches_us)
  lines[1] = string.format("%s in all, %s of it in %d kernels", wall, inside, #self.launches)
  if self.limits then
    lines[1] = lines[1] .. string.format("; limits: %s GFLOP/s, %s GB/s read, %s GB/s copied, %d threads",
      number(self.limits.gflops), number(self.limits.read_gbps), number(self.limits.copy_gbps), self.limits.threads or 0)
  end
  if self.lost then lines[#lines + 1] = string.format("%d launches found no room and are missing", self.lost) end
  lines[#lines + 1] = ""
  table_text(lines, "op", self.ops, self.rows, name_of)
  table_text(lines, "layer", self.layers, self.rows, name_of)
  lines[#lines] = nil
  return table.concat(lines, "\n")
end

--- Each launch with its operands, slowest first.
-- @tparam[opt] integer most how many
-- @treturn string
function Profile:launch_text(most)
  local lines = {}
  table_text(lines, "launch", self.launches, most or self.rows, function(row) return row.name .. " " .. row.operands end)
  lines[#lines] = nil
  return table.concat(lines, "\n")
end

Profile.__tostring = Profile.text

-- ---- The trace ----

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function json(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return ESCAPES[c] or string.format("\\u%04x", c:byte()) end) .. '"'
end

local function arguments_text(launch)
  local form = '"args":{"kernel":%s,"why":%s,"operands":%s,"layer":%s,"line":%s,"flops":%.0f,"bytes":%.0f}'
  return form:format(json(launch.kernel), json(launch.why), json(launch.operands), json(launch.layer), json(launch.line),
    launch.flops, launch.bytes)
end

--- The events as text in the trace format that Chrome and Perfetto read.
-- @tparam table found `launches`, `events` as the core gives them
-- @treturn string
function profile.trace_text(found)
  local lines = { '{"name":"process_name","ph":"M","pid":1,"tid":1,"args":{"name":"moonlet"}}' }
  local events, constant = found.events, {}
  for i = 1, #events, 3 do
    local launch = found.launches[events[i]]
    local head = constant[events[i]]
    if not head then
      head = '{"name":' .. json(launch.name) .. ',"cat":' .. json(launch.op) .. ',"ph":"X","pid":1,"tid":1,'
      head = head .. arguments_text(launch)
      constant[events[i]] = head
    end
    lines[#lines + 1] = head .. string.format(',"ts":%.3f,"dur":%.3f}', events[i + 1], events[i + 2])
  end
  return '{"traceEvents":[\n' .. table.concat(lines, ",\n") .. '\n],"displayTimeUnit":"ms"}\n'
end

-- ---- Making one ----

local LIMITS = {
  { "gflops", "positive", required = true }, { "read_gbps", "positive", required = true },
  { "copy_gbps", "positive", required = true }, { "threads", "count" },
}

local function limits_of(settings)
  if not settings.limits then return profile.limits() end
  return util.options("ml.profile: limits", LIMITS, settings.limits)
end

--- Runs a function and tells what the kernels it launched cost.
-- @tparam function f
-- @tparam[opt] table opts `trace`: a file for Chrome's or Perfetto's viewer; `print` (default true); `rows` of each table (20);
--   `limits`: what `moonlet.profile.limits` gives, instead of measuring
-- @treturn Profile `ops`, `layers`, `launches`: lists of rows, slowest first, each with `name, calls, us, share, flops, bytes,
--   gflops, gbps, limit_percent`; `wall_us`, `launches_us`, `limits`. The percentage is of the larger of two times: the arithmetic
--   at the limit of multiply-adds, the bytes at that of memory; bytes that stay in a cache can take it beyond 100.
-- @return what f returns
function profile.run(f, opts)
  util.check("ml.profile", { "the first argument", "function" }, f)
  local settings = util.options("ml.profile", OPTIONS, opts)
  local limits = limits_of(settings)
  core.profile_begin(settings.trace ~= nil)
  local results = util.pack(pcall(f))
  local found = core.profile_end()
  core.profile_clear()
  if not results[1] then error(results[2], 0) end
  if settings.trace then core.write_file(settings.trace, profile.trace_text(found)) end
  local made = Profile(found, settings, limits)
  if settings.print then host.write(made:text() .. "\n") end
  return made, util.unpack(results, 2, results.n)
end

return profile
