--- The other frameworks as processes that stay alive and measure when they are asked; see peers/serve.py for the conversation.
local timing = require("spec.bench.timing")

local peers = {}

-- name, file and argument, which workloads, the device that it is a peer of
local KINDS = {
  { "torch", "torch_peer.py eager" },
  { "torch_channels_last", "torch_peer.py channels_last", images = true },
  { "torch_compile", "torch_peer.py compile" },
  { "tensorflow", "tensorflow_peer.py function" },
  { "tensorflow_xla", "tensorflow_peer.py xla" },
  { "jax", "jax_peer.py" },
  { "onnxruntime", "onnxruntime_peer.py", kind = "infer" },
  { "tinygrad", "tinygrad_peer.py CPU" },
  { "tinygrad_opencl", "tinygrad_peer.py CL", device = "opencl" },
}
local IMAGES = { cnn = true, resnet18 = true, unet = true, mobilenetv2 = true, resnet50 = true }
local CHECKED_STEPS = 3

local Peer = {}
Peer.__index = Peer

local function start(kind, bench, workload)
  local base = bench.build .. "/bench/" .. kind[1]
  os.execute(("rm -f %s.pipe && mkfifo %s.pipe"):format(base, base))
  local python = bench.build .. "/bench/venv/bin/python"
  local command = "exec env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_NUM_THREADS=%d timeout 900 %s -u spec/bench/peers/%s %s"
  command = command:format(bench.limits.threads, python, kind[2], workload) .. (" > %s.pipe 2> %s.log"):format(base, base)
  local self = setmetatable({ name = kind[1] }, Peer)
  self.input = io.popen(command, "w")
  self.output = io.open(base .. ".pipe", "r")
  self.failed = self.output:read("*l") ~= "ok" and "does not start" or nil
  return self
end

--- Sends a command; the numbers it answers with, or nil and why not.
function Peer:ask(command)
  if self.failed then return nil, self.failed end
  self.input:write(command, "\n")
  self.input:flush()
  local line = self.output:read("*l")
  local rest = line and line:match("^ok(.*)")
  if not rest then
    self.failed = line or "ended"
    return nil, self.failed
  end
  local numbers = {}
  for word in rest:gmatch("%S+") do numbers[#numbers + 1] = tonumber(word) or 0 / 0 end
  return numbers
end

function Peer:stop()
  self.output:close()
  self.input:close()
end

--- Starts the peers that know a workload. only: words of PEERS, "1" for all.
function peers.start(bench, row, only)
  local list = {}
  for _, kind in ipairs(KINDS) do
    local fits = not (kind.images and not IMAGES[row[1]:match("^[^_]+")]) and not (kind.kind and kind.kind ~= row[2])
    local named = only == "1" or (" " .. only:gsub(",", " ") .. " "):find(" " .. kind[1] .. " ", 1, true)
    fits = fits and (not kind.device or bench.device:find(kind.device, 1, true) == 1)
    if fits and named then list[#list + 1] = start(kind, bench, row[1]) end
  end
  return list
end

-- ---- Equal numbers ----

local function near(a, b, scale)
  return math.abs(a - b) <= scale -- false for NaN
end

-- Losses of the first steps within 2 %, or a sample of the first output within a thousandth of its largest number.
local function agrees(kind, ours, theirs)
  if #theirs < #ours then return false end
  local largest = 0
  for _, x in ipairs(ours) do largest = math.max(largest, math.abs(x)) end
  for i, x in ipairs(ours) do
    if not near(x, theirs[i], kind == "train" and 0.02 * math.abs(x) or 1e-3 * largest) then return false end
  end
  return true
end

local function our_numbers(w)
  local numbers = {}
  if w.kind == "train" then
    for i = 1, CHECKED_STEPS do
      w:step()
      numbers[i] = w:loss()
    end
    return numbers
  end
  w:step()
  local flat = w.args.out[1]:reshape { -1 }:totable()
  for i = 1, #flat, math.max(1, math.floor(#flat / 64)) do
    if #numbers < 64 then numbers[#numbers + 1] = flat[i] end
  end
  return numbers
end

-- ---- Rounds, one participant at a time ----

local function pause() os.execute("sleep 0.05") end

-- Does a peer compute while it waits? Its share of one processor.
local function share_of(peer)
  local before = peer:ask("cpu")
  os.execute("sleep 0.25")
  local after = peer:ask("cpu")
  return before and after and (after[1] - before[1]) / 0.25 or 0
end

--- Builds the workload everywhere, checks that all compute the same, and measures in turn.
-- @return our rounds, { name = rounds }, notes, { name = bytes }
function peers.measure(bench, w, list, rounds, round_us, before, after)
  local path = ("%s/bench/%s.safetensors"):format(bench.build, w.name)
  w:save(path)
  local ours, notes, times, peaks, our_times = our_numbers(w), {}, {}, {}, {}
  for _, peer in ipairs(list) do
    local theirs, why = peer:ask(("make %s %s %d"):format(w.name, path, w.kind == "train" and CHECKED_STEPS or 1))
    if theirs and not agrees(w.kind, ours, theirs) then
      why = "other numbers: " .. table.concat(theirs, " ", 1, math.min(3, #theirs))
      peer.failed = why
    end
    if why then notes[#notes + 1] = peer.name .. ": " .. why end
  end
  os.remove(path)
  before()
  for i = 1, rounds do
    pause()
    our_times[i] = timing.round(function() w:step() end, round_us)
    for _, peer in ipairs(list) do
      if not peer.failed then
        pause()
        local us = peer:ask(("round %d"):format(round_us))
        times[peer.name] = times[peer.name] or {}
        if us then table.insert(times[peer.name], us[1]) end
      end
    end
  end
  for _, peer in ipairs(list) do
    local share = peer.failed and 0 or share_of(peer)
    if share > 0.05 then notes[#notes + 1] = ("%s: computes %.0f %% while it waits"):format(peer.name, 100 * share) end
  end
  after()
  for _, peer in ipairs(list) do
    local peak = peer:ask("peak")
    peaks[peer.name] = peak and peak[1] or nil
  end
  return our_times, times, notes, peaks
end

--- Seconds from the start of a peer's process to its first trained step of a workload written to path.
function peers.first_step(bench, row, path, only, clock)
  local found = {}
  for _, kind in ipairs(KINDS) do
    if not kind.images and not kind.kind and not kind.device and (only == "1" or only:find(kind[1], 1, true)) then
      local begin = clock()
      local peer = start(kind, bench, row)
      if peer:ask(("make %s %s 1"):format(row, path)) then found[kind[1]] = clock() - begin end
      peer:stop()
    end
  end
  return found
end

return peers
