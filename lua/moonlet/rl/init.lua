--- Reinforcement learning: `ml.rl`.
-- Here: the list of what the folder offers; words are those of Gymnasium and Stable-Baselines3. Invariant: requiring this loads
-- none of it; nothing in the folder uses more than the rest of the library offers to any script.
--
-- An *environment* has `reset()`, which returns an observation, and `step(action)`, which returns the next observation, the reward,
-- and the booleans terminated and truncated. An *observation* is a list of numbers; it must stay as it is until the step after the
-- next (the environments here fill two tables in turn). An *action* is a whole number counted from 0, or a list of numbers. Many
-- environments at once (`VecEnv`, or a game's own) are lists of all of these: agents take both forms.
--
-- An *agent* has `act(observation)`, `observe(observation, action, reward, next_observation, terminated, truncated)` and `learn`:
-- `learn { total_timesteps = n }` plays in the agent's environment, `learn { budget_us = n }` does a slice of what is to be learnt
-- from what was observed, while `act` uses the weights of the last whole step. With one seed (`ml.seed` for weights, an agent's
-- `seed` for the rest) equal calls give equal numbers, in slices or not.
-- @module moonlet.rl
-- @usage
-- local ml = require "moonlet"
-- local env = ml.rl.CartPole { seed = 1 }
-- local agent = ml.rl.PPO { env = env, seed = 1 }
-- agent:learn { total_timesteps = 20000 }
-- print(ml.rl.evaluate(agent, env))

local util = require "moonlet.util"

return util.lazy({}, {
  BehaviorCloning = "moonlet.rl.behavior_cloning",
  Box = "moonlet.rl.box",
  CMAES = "moonlet.rl.cmaes",
  CartPole = "moonlet.rl.cart_pole",
  DQN = "moonlet.rl.dqn",
  Discrete = "moonlet.rl.discrete",
  Env = "moonlet.rl.env",
  EvolutionStrategy = "moonlet.rl.evolution_strategy",
  GridWorld = "moonlet.rl.grid_world",
  MountainCar = "moonlet.rl.mountain_car",
  ObservationNorm = "moonlet.rl.observation_norm",
  PPO = "moonlet.rl.ppo",
  Policy = "moonlet.rl.policy",
  Parameters = "moonlet.rl.parameters",
  PrioritizedReplayBuffer = "moonlet.rl.prioritized_replay_buffer",
  REINFORCE = "moonlet.rl.reinforce",
  Random = "moonlet.rl.random",
  ReplayBuffer = "moonlet.rl.replay_buffer",
  SumTree = "moonlet.rl.sum_tree",
  VecEnv = "moonlet.rl.vec_env",
  evaluate = "moonlet.rl.evaluate",
  gae = "moonlet.rl.gae",
})
