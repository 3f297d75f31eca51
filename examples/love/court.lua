-- One court: a ball, the agent's paddle on the right, and on the left the player's paddle or, for practice, a wall that plays a
-- little differently each time. Here: the rules alone, no drawing. Both sides of the court are 1 long; the unit of time is a frame.

local Court = {}
Court.__index = Court

Court.PADDLE = 0.2 -- the length of a paddle
Court.PADDLE_SPEED = 0.03
Court.BALL_SPEED = 0.025
Court.ACTIONS = 3 -- 0 up, 1 stay, 2 down
Court.OBSERVATION = 6

local abs, max, min = math.abs, math.max, math.min

-- random: an ml.rl.Random; has_player: is there a paddle on the left?
function Court.new(random, has_player)
  local court = setmetatable({ random = random, has_player = has_player, paddle = 0.5, player = 0.5 }, Court)
  court:serve()
  return court
end

local function slope(court)
  return (court.random:uniform() * 2 - 1) * 0.025
end

-- A new ball, from the left to the right.
function Court:serve()
  self.x, self.y = 0.05, 0.1 + 0.8 * self.random:uniform()
  self.dx, self.dy = Court.BALL_SPEED, slope(self)
end

local function within(y)
  return max(Court.PADDLE / 2, min(1 - Court.PADDLE / 2, y))
end

-- What the agent sees, written to a list.
function Court:observe(into)
  into[1], into[2] = 2 * self.x - 1, 2 * self.y - 1
  into[3], into[4] = self.dx / Court.BALL_SPEED, self.dy / Court.BALL_SPEED
  into[5], into[6] = 2 * self.paddle - 1, 2 * (self.y - self.paddle)
end

-- Is the ball at this end stopped by a paddle at y? A little more than its length counts, as the ball has a size.
local function is_hit(court, y)
  return abs(court.y - y) <= Court.PADDLE / 2 + 0.015
end

local function bounce(court)
  court.dx = -court.dx
  court.dy = court.dx < 0 and court.dy or slope(court)
end

-- Goes on by one frame: the agent's action, and where the player's paddle moves to (-1 up, 0, 1 down). Returns the agent's reward,
-- whether the ball is lost, and "player" or "agent" when one of them has lost it.
function Court:step(action, player_move)
  self.paddle = within(self.paddle + (action - 1) * Court.PADDLE_SPEED)
  self.player = within(self.player + (player_move or 0) * Court.PADDLE_SPEED)
  self.x, self.y = self.x + self.dx, self.y + self.dy
  if self.y < 0 or self.y > 1 then
    self.y = self.y < 0 and -self.y or 2 - self.y
    self.dy = -self.dy
  end
  if self.dx > 0 and self.x >= 0.95 then
    if not is_hit(self, self.paddle) then
      self:serve()
      return -1, true, "agent"
    end
    bounce(self)
    return 1, false
  end
  if self.dx < 0 and self.x <= 0.05 then
    if self.has_player and not is_hit(self, self.player) then
      self:serve()
      return 0, true, "player"
    end
    bounce(self)
  end
  return 0, false
end

return Court
