--- In which order the rows of a dataset come: `{ first =, count =, rows = }`.
-- Here: permutations made of row numbers (counted from 0, as gather takes them) and the generator of random numbers behind
-- them. Invariant: the same seed and epoch give the same order in every Lua version.
-- @module moonlet.data.order

local order = {}

-- Lehmer's generator: every product stays below 2^47, so doubles and integers give the same numbers.
local MODULUS, MULTIPLIER = 2147483647, 48271

--- A source of random integers: `random(n)` gives one in [1, n].
-- @tparam integer seed
-- @tparam integer epoch
-- @treturn function
function order.random(seed, epoch)
  local state = (seed % MODULUS * 7919 + epoch % MODULUS * 104729 + 1) % MODULUS
  if state == 0 then state = 1 end
  local function random(n)
    state = state * MULTIPLIER % MODULUS
    return math.floor(state / MODULUS * n) + 1
  end
  for _ = 1, 8 do random(1) end
  return random
end

--- Shuffles the list in place (Fisher and Yates).
function order.shuffle_list(list, random)
  for i = #list, 2, -1 do
    local j = random(i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

--- All rows as they lie.
function order.natural(count)
  return { first = 1, count = count }
end

--- Row number of the i-th entry.
function order.row(o, i)
  local place = o.first + i - 1
  return o.rows and o.rows[place] or place - 1
end

--- A part of an order: `count` entries after `skip` of them.
function order.part(o, skip, count)
  skip = math.min(skip, o.count)
  return { first = o.first + skip, count = math.max(0, math.min(count, o.count - skip)), rows = o.rows }
end

local function list_of(o)
  local rows = {}
  for i = 1, o.count do rows[i] = order.row(o, i) end
  return rows
end

--- The same entries in random order.
function order.shuffled(o, seed, epoch)
  local rows = order.shuffle_list(list_of(o), order.random(seed, epoch))
  return { first = 1, count = o.count, rows = rows }
end

--- The entries of several orders, one after another.
function order.joined(orders)
  local rows = {}
  for _, o in ipairs(orders) do
    for i = 1, o.count do rows[#rows + 1] = order.row(o, i) end
  end
  return { first = 1, count = #rows, rows = rows }
end

return order
