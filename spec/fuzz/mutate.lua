--- Changes to bytes for the fuzz loops: the same seed gives the same changes.
-- Here: mutations that do not know the format; who knows it gives words that are worth inserting. Invariant: no change is lost,
-- so a seed in a message is enough to see it again.
local random_graph = require "spec.support.random_graph"

local mutate = {}

local numbers = { "0", "1", "-1", "2147483648", "4294967295", "9223372036854775807", "9223372036854775808", "18446744073709551616",
  "1e308", "nan",
  "inf", "0.5", "1e-400" }

local changes = {
  function(data, rng) -- another byte
    local at = rng.int(1, #data)
    return data:sub(1, at - 1) .. string.char(rng.int(0, 255)) .. data:sub(at + 1)
  end,
  function(data, rng) -- one bit
    local at, bit = rng.int(1, #data), 2 ^ rng.int(0, 7)
    local byte = data:byte(at)
    byte = math.floor(byte / bit) % 2 == 1 and byte - bit or byte + bit
    return data:sub(1, at - 1) .. string.char(byte) .. data:sub(at + 1)
  end,
  function(data, rng) -- a piece less
    local at = rng.int(1, #data)
    return data:sub(1, at - 1) .. data:sub(at + rng.int(1, 16))
  end,
  function(data, rng) -- a piece twice
    local at = rng.int(1, #data)
    local n = rng.int(1, 32)
    return data:sub(1, at + n - 1) .. data:sub(at)
  end,
  function(data, rng) return data:sub(1, rng.int(0, #data - 1)) end,
  function(data, rng) -- a piece from elsewhere
    local from, at, n = rng.int(1, #data), rng.int(1, #data), rng.int(1, 24)
    return data:sub(1, at - 1) .. data:sub(from, from + n) .. data:sub(at + n)
  end,
  function(data, rng) -- another number
    local list, at = {}, 1
    while true do
      local first, last = data:find("%d+", at)
      if not first then break end
      list[#list + 1] = { first, last }
      at = last + 1
    end
    if #list == 0 then return data end
    local place = rng.pick(list)
    return data:sub(1, place[1] - 1) .. rng.pick(numbers) .. data:sub(place[2] + 1)
  end,
}

--- data after 1 to 3 changes; words: strings of the format, inserted now and then.
function mutate.change(data, seed, words)
  local rng = random_graph.generator(seed)
  for _ = 1, rng.int(1, 3) do
    if #data == 0 then return data end
    if words and rng.int(1, 4) == 1 then
      local at = rng.int(1, #data)
      data = data:sub(1, at - 1) .. rng.pick(words) .. data:sub(at + rng.int(0, 4))
    else
      data = rng.pick(changes)(data, rng)
    end
  end
  return data
end

return mutate
