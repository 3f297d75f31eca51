--- What convolution layers share: arguments, padding, data_format.
-- Here: the base of `Conv1D`, `Conv2D`, `Conv3D`, `Conv2DTranspose`, `DepthwiseConv2D`. Invariant: the ops see channels last;
-- `channels_first` is a transposition before and after.
-- @classmod moonlet.nn.convolution

local Layer = require "moonlet.nn.layer"
local channels = require "moonlet.nn.channels"
local core = require "moonlet.core"
local util = require "moonlet.util"

local Convolution = Layer:extend("Convolution")

local AXES = { "(batch, steps, channels)", "(batch, height, width, channels)", "(batch, depth, height, width, channels)" }

--- The rows of arguments that all convolutions of a rank take.
function Convolution.common_rows(rank, extra)
  local rows = {
    { "kernel_size", "sizes", n = rank, at = 2, required = true },
    { "strides", "sizes", n = rank, default = channels.list(rank, 1) },
    { "padding", "padding", n = rank, known = rank == 1 and { "valid", "same", "causal" } or { "valid", "same" },
      default = "valid" },
    { "data_format", "string", words = channels.WORDS, default = "channels_last" },
    { "dilation_rate", "sizes", n = rank, default = channels.list(rank, 1) },
    { "activation", "activation" },
    { "use_bias", "boolean", default = true },
    { "bias_initializer", "initializer", default = "zeros" },
  }
  for i, row in ipairs(extra) do table.insert(rows, i, row) end
  return rows
end

--- Makes the class of one rank.
function Convolution:define(name, rank)
  local class = self:extend(name, self.common_rows(rank, {
    { "filters", "count", at = 1, required = true },
    { "groups", "count", default = 1 },
    { "kernel_initializer", "initializer", default = "glorot_uniform" },
  }))
  class.rank = rank
  return class
end

function Convolution:setup()
  if self.groups and self.filters % self.groups ~= 0 then
    self:fail("filters must be a multiple of groups, got %d filters and %d groups", self.filters, self.groups)
  end
  for i = 1, self.rank do
    if self.strides[i] > 1 and self.dilation_rate[i] > 1 then
      self:fail("strides and dilation_rate cannot both be greater than 1, got strides %d and dilation_rate %d",
        self.strides[i], self.dilation_rate[i])
    end
  end
end

--- Checks the input's rank and gives its number of channels.
function Convolution:channels_of(shape)
  self:expect_ndim(shape, self.rank + 2, channels.axes_text(AXES[self.rank], self.data_format))
  return self:known_size(shape, self.data_format == "channels_first" and 2 or -1, "the number of channels")
end

--- The shape of the kernel for an input of c channels.
function Convolution:kernel_shape(c)
  if c % self.groups ~= 0 then
    self:fail("the number of channels must be a multiple of groups, got %d channels and %d groups", c, self.groups)
  end
  local shape = channels.list(self.rank, self.kernel_size)
  shape[self.rank + 1], shape[self.rank + 2] = c / self.groups, self.filters
  return shape
end

--- How many output channels the bias covers.
function Convolution:output_channels()
  return self.filters
end

function Convolution:build(shape)
  self.in_channels = self:channels_of(shape)
  self.kernel = self:add_weight("kernel", self:kernel_shape(self.in_channels), { initializer = self.kernel_initializer })
  if self.use_bias then
    self.bias = self:add_weight("bias", { self:output_channels() }, { initializer = self.bias_initializer })
  end
end

--- Padding attributes of the op.
function Convolution:padding_of()
  if self.padding ~= "causal" then return channels.padding(self.padding) end
  return { padding = "explicit", pad_lo = { (self.kernel_size[1] - 1) * self.dilation_rate[1] }, pad_hi = { 0 } }
end

--- The convolution itself, channels last.
function Convolution:convolve(x)
  local attrs = self:padding_of()
  attrs.strides, attrs.dilation, attrs.groups = self.strides, self.dilation_rate, self.groups
  return core.conv(x, self.kernel, attrs)
end

function Convolution:call(x)
  local shape = x.shape
  if self:channels_of(shape) ~= self.in_channels then
    self:fail("was built for inputs of %d channels, got shape %s", self.in_channels, util.shape_text(shape))
  end
  local y = self:convolve(channels.to_last(x, self.data_format))
  if self.bias then y = y + self.bias end
  if self.activation then y = self.activation(y) end
  return channels.from_last(y, self.data_format)
end

return Convolution
