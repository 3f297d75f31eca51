-- The thread that trains: see background.lua. It has a Lua state and a Moonlet of its own.
local cpath, weights, orders, seed = ...
package.cpath = cpath

local ml = require "moonlet"
local Court = require "court"
local Opponent = require "opponent"

local EVERY = 25 -- frames of practice between two messages

local random, courts = ml.rl.Random(seed), {}
for i = 1, 64 do courts[i] = Court.new(random, false) end
local opponent = Opponent.new(courts, seed)
opponent.budget = nil
local parameters = ml.rl.Parameters { opponent.agent.model }

while not orders:pop() do
  for _ = 1, EVERY do opponent:update(0, true, true) end
  if weights:getCount() == 0 then weights:push { weights = parameters:get(), curve = opponent.curve } end
end
