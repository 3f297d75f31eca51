--- Axes of a plot: the range of the data and round numbers to mark on it.
-- Here: arithmetic only. Drawing is in `moonlet.plot.terminal` and `moonlet.plot.svg`.
-- Invariant: the range is never empty, so that positions can be divided by it.
-- @module moonlet.plot.axis

local axis = {}

--- Is x a number that can be drawn?
function axis.is_finite(x)
  return x == x and x ~= math.huge and x ~= -math.huge
end

local function widen(low, high)
  if low > high then return 0, 1 end
  if low == high then
    local margin = math.abs(low) * 0.1
    if margin == 0 then margin = 0.5 end
    return low - margin, high + margin
  end
  return low, high
end

--- The smallest ranges that hold every finite point.
-- @tparam {Series,...} series
-- @treturn table `{ x_low =, x_high =, y_low =, y_high = }`
function axis.ranges(series)
  local x_low, x_high, y_low, y_high = math.huge, -math.huge, math.huge, -math.huge
  for _, curve in ipairs(series) do
    for i = 1, #curve.y do
      local x, y = curve.x[i], curve.y[i]
      if axis.is_finite(x) and axis.is_finite(y) then
        x_low, x_high = math.min(x_low, x), math.max(x_high, x)
        y_low, y_high = math.min(y_low, y), math.max(y_high, y)
      end
    end
  end
  local range = {}
  range.x_low, range.x_high = widen(x_low, x_high)
  range.y_low, range.y_high = widen(y_low, y_high)
  return range
end

--- The step of 1, 2 or 5 times a power of ten that gives about `count` marks.
function axis.step(low, high, count)
  local rough = (high - low) / math.max(count, 1)
  local power = 10 ^ math.floor(math.log(rough) / math.log(10))
  local part = rough / power
  if part <= 1 then return power end
  if part <= 2 then return 2 * power end
  if part <= 5 then return 5 * power end
  return 10 * power
end

--- Round numbers inside [low, high], about `count` of them.
-- @treturn {number,...}
function axis.ticks(low, high, count)
  local step = axis.step(low, high, count)
  local first = math.ceil(low / step - 1e-9)
  local last = math.floor(high / step + 1e-9)
  local ticks = {}
  for i = first, math.min(last, first + 100) do ticks[#ticks + 1] = i * step end
  return ticks
end

--- A short text for a mark.
function axis.label(value)
  if math.abs(value) < 1e-300 then return "0" end
  return string.format("%.4g", value)
end

return axis
