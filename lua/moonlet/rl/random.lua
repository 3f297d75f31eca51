--- Random numbers in Lua: `rl.Random`.
-- Here: the generator of environments and agents, one for each, so that what one draws does not change another. It is MRG32k3a
-- (L'Ecuyer, "Good parameters and implementations for combined multiple recursive random number generators", Operations Research
-- 47, 1999), which needs no more than 53 bits. Invariant: a seed gives the same numbers on every Lua; a draw makes no garbage.
-- @classmod moonlet.rl.random

local ml = require "moonlet"
local core = require "moonlet.core"
local util = require "moonlet.util"

local floor, sqrt, log, cos, sin, pi = math.floor, math.sqrt, math.log, math.cos, math.sin, math.pi

local M1, M2 = 4294967087, 4294944443
local NORM = 1 / 4294967088

--- A generator.
-- @function rl.Random
-- @tparam[opt] integer seed default: drawn from the library's own numbers, which `ml.seed` sets
-- @usage
-- local random = ml.rl.Random(7)
-- print(random:uniform(), random:integer(6), random:normal())
local Random = util.class("Random")

function Random:init(seed)
  if seed == nil then seed = ml.integers({ shape = {}, lo = 0, hi = 2147483647, dtype = "i64" }):item() end
  if not util.is_integer(seed) or seed < 0 then
    core.fail("rl.Random: seed must be an integer that is not negative, got %s", util.describe(seed))
  end
  local state, x = {}, seed % 4294967296
  for i = 1, 6 do
    x = (x * 69069 + 12345) % 4294967296
    state[i] = x % M2
  end
  state[1], state[4] = state[1] + 1, state[4] + 1 -- not all zero
  if state[1] >= M1 then state[1] = 1 end
  if state[4] >= M2 then state[4] = 1 end
  state[7], state[8] = 0, 0 -- is there a second normal number, and which
  self.state = state
  for _ = 1, 8 do self:uniform() end
end

--- A number between 0 and 1, neither included.
function Random:uniform()
  local s = self.state
  local p1 = (1403580 * s[2] - 810728 * s[1]) % M1
  s[1], s[2], s[3] = s[2], s[3], p1
  local p2 = (527612 * s[6] - 1370589 * s[4]) % M2
  s[4], s[5], s[6] = s[5], s[6], p2
  if p1 > p2 then return (p1 - p2) * NORM end
  return (p1 - p2 + M1) * NORM
end

--- A whole number from 0 to n - 1.
function Random:integer(n)
  return floor(self:uniform() * n)
end

--- A number of the standard normal distribution (Box and Muller, 1958).
function Random:normal()
  local s = self.state
  if s[7] == 1 then
    s[7] = 0
    return s[8]
  end
  local radius, angle = sqrt(-2 * log(self:uniform())), 2 * pi * self:uniform()
  s[7], s[8] = 1, radius * sin(angle)
  return radius * cos(angle)
end

return Random
