--- The two orders of axes, channels last and channels first.
-- Here: small help for layers with a `data_format`. Invariant: for `channels_last` nothing is added to the graph.
-- @module moonlet.nn.channels

local core = require "moonlet.core"
local util = require "moonlet.util"

local channels = {}

--- The words of `data_format`.
channels.WORDS = { "channels_last", "channels_first" }

--- A table of n entries: copies of a number, or of the entries of a table.
function channels.list(n, value)
  local list = {}
  for i = 1, n do list[i] = type(value) == "table" and value[i] or value end
  return list
end

--- x with its channels moved from axis 2 to the end.
function channels.to_last(x, format)
  if format ~= "channels_first" then return x end
  local perm = { 1 }
  for i = 3, #x.shape do perm[#perm + 1] = i end
  perm[#perm + 1] = 2
  return core.transpose(x, perm)
end

--- x with its channels moved from the end to axis 2.
function channels.from_last(x, format)
  if format ~= "channels_first" then return x end
  local n = #x.shape
  local perm = { 1, n }
  for i = 2, n - 1 do perm[#perm + 1] = i end
  return core.transpose(x, perm)
end

--- `(batch, height, width, channels)` in the other order if need be.
function channels.axes_text(text, format)
  if format ~= "channels_first" then return text end
  return (text:gsub("^%(batch, (.*), channels%)$", "(batch, channels, %1)"))
end

-- Rows and columns of zeros at both ends of each spatial axis: a word, or numbers of them. row.words are the words, row.n the rank.
util.define_kind("padding", function(row)
  local words = {}
  for i, word in ipairs(row.known) do words[i] = "'" .. word .. "'" end
  return table.concat(words, ", ") .. string.format(" or %s that is not negative, for both ends", row.n == 1 and "an integer" or
    string.format("an integer or a table of %d integers", row.n))
end, function(value, row)
  for _, word in ipairs(row.known) do
    if value == word then return true end
  end
  if type(value) ~= "number" and (type(value) ~= "table" or util.max_index(value) ~= row.n) then return false end
  local list = channels.list(row.n, value)
  for i = 1, row.n do
    if not util.is_integer(list[i]) or list[i] < 0 then return false end
  end
  return list
end)

--- The attributes of an op for an argument `padding`.
function channels.padding(padding)
  if type(padding) == "string" then return { padding = padding } end
  return { padding = "explicit", pad_lo = padding, pad_hi = padding }
end

return channels
