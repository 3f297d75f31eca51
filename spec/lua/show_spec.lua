-- Images in the terminal.
local core = require "moonlet.core"
local show = require "moonlet.show"

describe("show", function()
  it("draws two characters per pixel", function()
    assert.equal("  ██\n██\n", show.text(core.tensor { { 0, 1 }, { 1, 0 } }))
    assert.equal("  ░░▒▒▓▓██\n", show.text { { 0, 1, 2, 3, 4 } })
  end)

  it("draws images with channels", function()
    assert.equal("  ██\n", show.text { { { 0 }, { 5 } } })
    assert.equal("  ██\n", show.text { { { 0, 0, 0 }, { 1, 1, 1 } } })
    assert.equal("\27[48;2;255;0;0m  \27[48;2;0;0;255m  \27[0m\n", show.text({ { { 1, 0, 0 }, { 0, 0, 1 } } }, { color = true }))
  end)

  it("draws several side by side, with captions", function()
    local a, b = core.tensor { { 0, 1 } }, core.tensor { { 1, 1 }, { 1, 0 } }
    local opts = { low = 0, high = 1, gap = 1, captions = { "7", 1 } }
    assert.equal("  ██ ████\n     ██\n7    1\n", show.text({ a, b }, opts))
  end)

  it("draws a batch", function()
    local batch = core.tensor { { { { 0 }, { 1 } } }, { { { 1 }, { 0 } } } }
    assert.equal("  ██  ██\n", show.text(batch))
  end)

  it("bears numbers that are not finite, and constant images", function()
    assert.equal("\n", show.text { { 0 / 0, 0 / 0 } })
    assert.equal("string", type(show.text { { math.huge, 1 }, { -math.huge, 2 } }))
    assert.equal("\n", show.text { { 3, 3 } })
  end)

  it("writes where it is told", function()
    local out = {}
    show({ { 0, 1 } }, { write = function(text) out[#out + 1] = text end })
    assert.same({ "  ██\n" }, out)
  end)

  it("blames what is wrong", function()
    assert.error_matches(function() show.text { 1, 2 } end, "must have shape %(h, w%), .* got %(2,%)")
    assert.error_matches(function() show.text { { { 1, 2 } } } end, "got %(1, 1, 2%)")
    assert.error_matches(function() show.text "x" end, "the image must be a Tensor, got 'x'")
    assert.error_matches(function() show.text({ { 1 } }, { colour = true }) end, "unknown option 'colour'")
  end)
end)
