--- A step of each algorithm of `ml.rl`, for abi.lua: returns a function that gives what they computed as a list of numbers, which
-- must be the same on every Lua.

-- Plays a little; the agent learns as learn(agent) says.
local function play(ml, agent, steps, learn)
  local env = ml.rl.CartPole { seed = 1 }
  local o = env:reset()
  for _ = 1, steps do
    local action = agent:act(o)
    local following, reward, terminated, truncated = env:step(action)
    agent:observe(o, action, reward, following, terminated, truncated)
    learn(agent)
    o = (terminated or truncated) and env:reset() or following
  end
end

local function in_slices(agent)
  local budget = { budget_us = 20 }
  repeat local done = agent:learn(budget) until done
end

local function at_once(agent)
  agent:learn()
end

local function note_weights(numbers, agent)
  if agent.n_updates == 0 then error("nothing was learnt", 2) end
  for _, tensor in ipairs(agent.model:get_weights()) do numbers[#numbers + 1] = tensor:sum():item() end
  numbers[#numbers + 1] = agent.n_updates
  numbers[#numbers + 1] = agent.random:uniform()
end

local AGENTS = {
  { "DQN", { learning_starts = 40, dueling = true, prioritized = true } },
  { "PPO", { n_steps = 32, batch_size = 16, n_epochs = 2, normalize_observations = true } },
  { "REINFORCE", { n_steps = 40, n_episodes = 2 } },
  { "BehaviorCloning", {} },
}

local function search(ml, es, numbers)
  for _ = 1, 3 do
    local solutions, values = es:ask(), {}
    for i, x in ipairs(solutions) do values[i] = (x[1] - 1) ^ 2 + 10 * (x[2] + x[1]) ^ 2 end
    es:tell(solutions, values)
  end
  numbers[#numbers + 1], numbers[#numbers + 2] = es.mean[1], es.best_value
end

return function(ml)
  local numbers = {}
  for _, entry in ipairs(AGENTS) do
    for _, learn in ipairs { at_once, in_slices } do
      ml.seed(2)
      local options = { observation_space = 4, action_space = 2, net_arch = { 8 }, seed = 3 }
      for key, value in pairs(entry[2]) do options[key] = value end
      local agent = ml.rl[entry[1]](options)
      play(ml, agent, 64, learn)
      note_weights(numbers, agent)
    end
  end
  search(ml, ml.rl.CMAES { { 0, 0 }, seed = 1 }, numbers)
  search(ml, ml.rl.EvolutionStrategy { { 0, 0 }, seed = 1 }, numbers)
  return numbers
end
