-- Learning in a second Lua state: a thread of LÖVE that plays on practice courts as fast as it can and sends its weights now and
-- then. Here: the side of the game. The thread's side is trainer.lua; nothing is shared but lists of numbers in channels.

local ml = require "moonlet"

local Background = {}
Background.__index = Background

-- opponent: whose network gets the weights.
function Background.start(opponent, seed)
  local self = setmetatable({ curve = {}, opponent = opponent, seen = 0 }, Background)
  self.weights, self.orders = love.thread.newChannel(), love.thread.newChannel()
  self.thread = love.thread.newThread "trainer.lua"
  self.thread:start(package.cpath, self.weights, self.orders, seed)
  return self
end

-- Takes the newest weights, if there are any. An error of the thread is raised here.
function Background:receive()
  local message = self.weights:pop()
  if message then
    if self.agent ~= self.opponent.agent then
      self.agent = self.opponent.agent
      self.parameters = ml.rl.Parameters { self.agent.model }
    end
    self.parameters:set(message.weights)
    self.curve, self.seen = message.curve, self.seen + 1
  end
  local problem = self.thread:getError()
  if problem then error(problem, 0) end
end

function Background:stop()
  self.orders:push "stop"
  self.thread:wait()
end

return Background
