-- Reinforcement learning: PPO learns to balance a pole on a cart, in eight environments at once. Then one episode is shown.
local ml = require "moonlet"
local rl = ml.rl

ml.seed(1)
local quick = os.getenv "EPOCHS" ~= nil
local envs = rl.VecEnv { function(i) return rl.CartPole { seed = i } end, n = 8 }
local agent = rl.PPO { env = envs, n_steps = 128, batch_size = 256, learning_rate = 1e-3, seed = 1 }

local shown = 0
agent:learn { total_timesteps = quick and 8192 or 40960, callback = function()
  if agent.num_timesteps - shown < 4096 or agent.episodes == 0 then return end
  shown = agent.num_timesteps
  print(string.format("after %5d steps the pole stays up for %3.0f", shown, agent:mean_return()))
end }

local mean, deviation = rl.evaluate(agent, rl.CartPole { seed = 100 })
print(string.format("learnt: %.0f steps of at most 500, deviation %.0f", mean, deviation))

-- The cart seen from the side: one line for each tenth step.
local env = rl.CartPole { seed = 7 }
local observation, over, step = env:reset(), false, 0
while not over and step < 100 do
  if step % 10 == 0 then
    local cart = math.floor(30 + 12 * observation[1] + 0.5)
    local lean = observation[3] > 0.03 and "/" or observation[3] < -0.03 and "\\" or "|"
    print(string.rep(" ", cart) .. lean .. string.rep(" ", 58 - cart) .. string.format("x %5.2f  angle %5.2f", observation[1],
      observation[3]))
  end
  local terminated, truncated, _
  observation, _, terminated, truncated = env:step(agent:act(observation, true))
  over, step = terminated or truncated, step + 1
end
