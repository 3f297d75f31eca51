--- What is printed and written: rows of workloads with peers and limits, and single figures. A row is
-- { workload, kind, ours_us, peers_us = { name = us }, ratio = fastest peer / ours, limit_percent, .. }; cpu_us is our own time on
-- the CPU device, where another one is measured.
local report = { rows = {} }

local limits

local function number(x)
  if x >= 100 then return string.format("%.0f", x) end
  if x >= 10 then return string.format("%.1f", x) end
  return string.format("%.2f", x)
end

--- A time with its unit.
function report.time(us)
  if us >= 1e6 then return number(us / 1e6) .. " s" end
  if us >= 1e3 then return number(us / 1e3) .. " ms" end
  return number(us) .. " us"
end

local function processor()
  local file = io.open("/proc/cpuinfo")
  if not file then return "unknown processor" end
  local name = file:read("*a"):match("model name%s*:%s*([^\n]+)")
  file:close()
  return name or "unknown processor"
end

function report.header(version, device, measured)
  limits = measured
  report.machine = processor()
  print(string.format("moonlet %s, device %s, %d threads of %s", version, device, limits.threads, report.machine))
  print(string.format("limits: %.0f GFLOP/s multiply-add, %.1f GB/s read, %.1f GB/s copied", limits.gflops, limits.read_gbps,
    limits.copy_gbps))
  report.rows[1] = { workload = "limits", kind = "limit", gflops = limits.gflops, read_gbps = limits.read_gbps,
    copy_gbps = limits.copy_gbps, threads = limits.threads }
end

--- A better measurement of a limit replaces the first.
function report.raise_limits(measured)
  for key, value in pairs(measured) do limits[key] = math.max(limits[key], value) end
end

--- Percent of what is possible: arithmetic at the limit of multiply-adds, or bytes at that of memory, whichever takes longer.
function report.limit_percent(us, flops, bytes)
  local least = math.max((flops or 0) / limits.gflops, (bytes or 0) / math.max(limits.read_gbps, limits.copy_gbps)) / 1e3
  return 100 * least / us
end

local title

--- What the rows that follow are called, printed before the first of them.
function report.group(text) title = text end

local function print_title()
  if title then print(title) end
  title = nil
end

--- A figure without peers or limit.
function report.figure(name, kind, value, unit, note)
  print_title()
  print(string.format("  %-46s %12s %-8s %s", name, number(value), unit, note or ""))
  report.rows[#report.rows + 1] = { workload = name, kind = kind, value = value, unit = unit }
end

--- The time of a workload or kernel. row: workload, kind, ours_us, flops, bytes, spread, peers_us, note.
function report.row(row)
  print_title()
  local fastest
  for _, us in pairs(row.peers_us or {}) do fastest = math.min(fastest or us, us) end
  row.ratio = fastest and fastest / row.ours_us or nil
  row.limit_percent = report.limit_percent(row.ours_us, row.flops, row.bytes)
  local parts = {}
  for name, us in pairs(row.peers_us or {}) do parts[#parts + 1] = { name, us } end
  table.sort(parts, function(a, b) return a[2] < b[2] end)
  for i, part in ipairs(parts) do parts[i] = part[1] .. " " .. report.time(part[2]) end
  local rate = (row.flops or 0) > 0 and string.format("%6.0f GFLOP/s", row.flops / row.ours_us / 1e3) or ""
  if row.kind == "kernel" and row.bytes and row.bytes > 0 and (row.flops or 0) / limits.gflops < row.bytes / limits.read_gbps then
    rate = string.format("%6.1f GB/s   ", row.bytes / row.ours_us / 1e3)
  end
  print(string.format("  %-46s %10s %4.0f %% of limit %14s  spread %3.0f %%%s%s %s", row.workload, report.time(row.ours_us),
    row.limit_percent, rate, 100 * (row.spread or 0), row.ratio and string.format("  ratio %.2f  ", row.ratio) or "",
    table.concat(parts, ", "), row.note or ""))
  if row.cpu_us then print(("    %.2f of the CPU device's speed: %s"):format(row.cpu_us / row.ours_us, report.time(row.cpu_us))) end
  row.note = nil
  report.rows[#report.rows + 1] = row
end

--- The geometric mean over workloads with peers; a row at 90 % of its limit counts as 1.5 at least.
function report.summary()
  local sum, count, below = 0, 0, {}
  print(string.format("limits, best of the run: %.0f GFLOP/s, %.1f GB/s read, %.1f GB/s copied", limits.gflops, limits.read_gbps,
    limits.copy_gbps))
  for key, value in pairs(limits) do report.rows[1][key] = value end
  for _, row in ipairs(report.rows) do
    if row.ratio and (row.kind == "train" or row.kind == "infer") then
      local ratio = row.limit_percent >= 90 and math.max(row.ratio, 1.5) or row.ratio
      sum, count = sum + math.log(ratio), count + 1
      if ratio < 1 then below[#below + 1] = row.workload end
    end
  end
  if count == 0 then return end
  print(string.format("geometric mean of the ratios over %d workloads: %.2f; below 1: %s", count, math.exp(sum / count),
    #below > 0 and table.concat(below, ", ") or "none"))
end

-- ---- Markdown, for README.md ----

local function names_of_peers()
  local seen, names = {}, {}
  for _, row in ipairs(report.rows) do
    for name in pairs(row.peers_us or {}) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

-- The spread of whoever was fastest among the peers, and of ours.
local function spread_text(row)
  local spread = row.spread or 0
  for name, us in pairs(row.peers_us or {}) do
    if row.ratio and us == row.ratio * row.ours_us then spread = math.max(spread, row.peers_spread[name]) end
  end
  return string.format("%.0f %%", 100 * spread)
end

local function megabytes(bytes) return bytes and string.format("%.0f", bytes / 1e6) or "" end

local function leanest(row)
  local least
  for _, bytes in pairs(row.peers_peak_bytes or {}) do least = math.min(least or bytes, bytes) end
  return least
end

--- A table of workloads: times with units, ratio, percent of limit, spread, peak memory in MB of ours and the leanest peer.
function report.markdown()
  local peers, cpu = names_of_peers(), false
  for _, row in ipairs(report.rows) do cpu = cpu or row.cpu_us ~= nil end
  local head = { "workload", "ours", cpu and "ours on CPU" or nil }
  for _, name in ipairs(peers) do head[#head + 1] = (name:gsub("_", " ")) end
  for _, name in ipairs { "ratio", "of limit", "spread", "MB", "leanest MB" } do head[#head + 1] = name end
  local lines = { "| " .. table.concat(head, " | ") .. " |", "|" .. string.rep("---|", #head) }
  for _, row in ipairs(report.rows) do
    if row.ours_us and row.kind ~= "kernel" then
      local cells = { row.workload, report.time(row.ours_us) }
      if cpu then cells[3] = row.cpu_us and report.time(row.cpu_us) or "" end
      for _, name in ipairs(peers) do
        local us = row.peers_us and row.peers_us[name]
        cells[#cells + 1] = us and report.time(us) or ""
      end
      cells[#cells + 1] = row.ratio and string.format("%.2f", row.ratio) or ""
      cells[#cells + 1] = string.format("%.0f %%", row.limit_percent)
      cells[#cells + 1] = spread_text(row)
      cells[#cells + 1] = megabytes(row.ours_peak_bytes)
      cells[#cells + 1] = megabytes(leanest(row))
      lines[#lines + 1] = "| " .. table.concat(cells, " | ") .. " |"
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- JSON ----

local json

local function object(t)
  local keys, parts = {}, {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do parts[i] = json(key) .. ": " .. json(t[key]) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

json = function(value)
  if type(value) == "table" then return object(value) end
  if type(value) == "string" then return '"' .. value:gsub('[%c"\\]', " ") .. '"' end
  if type(value) ~= "number" then return tostring(value) end
  if value ~= value or value == math.huge or value == -math.huge then return "null" end
  return string.format("%.7g", value)
end

function report.json()
  local out = {}
  for i, row in ipairs(report.rows) do out[i] = json(row) end
  return "[\n" .. table.concat(out, ",\n") .. "\n]\n"
end

return report
