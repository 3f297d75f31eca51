--- Single kernels, as programs of one node.
return function(bench, _, core)
  local function gflops(name, flops, build, tensors)
    core.trace_begin()
    local symbols = {}
    for i, t in ipairs(tensors) do symbols[i] = core.placeholder("x" .. i, t.dtype, t.shape, t.ndim) end
    local y = build(symbols)
    core.trace_end()
    local program = core.graph(symbols, { y }, {}):program({ mode = "infer", inputs = tensors })
    local args = { step = 0 }
    for i, t in ipairs(tensors) do args[i] = t end
    args.out = { (program:run(args)) }
    local us = bench.time_us(function() program:run(args) end, 9)
    bench.report(name, "kernel", flops / us / 1000, "GFLOP/s", string.format("%.0f us", us))
  end
  for _, n in ipairs { 256, 512, 1024 } do
    local a = core.normal({ n, n })
    gflops("matmul " .. n, 2 * n ^ 3, function(s) return s[1]:matmul(s[2]) end, { a, a })
  end
  for _, c in ipairs { { 64, 56, 3 }, { 128, 28, 3 }, { 256, 14, 3 }, { 512, 7, 3 }, { 256, 56, 1 } } do
    local channels, size, k = c[1], c[2], c[3]
    local x, w = core.normal({ 1, size, size, channels }), core.normal({ k, k, channels, channels })
    gflops(("conv %dx%d, %d channels, %dx%d"):format(k, k, channels, size, size), 2 * size * size * channels * channels * k * k,
      function(s) return core.conv(s[1], s[2], { padding = "same" }) end, { x, w })
  end
  local big = core.normal({ 4 * 1024 * 1024 })
  local function chain(s) return (s[1] * s[2] + s[1]):relu() * 2 - s[1] end
  gflops("5-op elementwise chain, 4 M", 5 * 4 * 1024 * 1024, chain, { big, big })
end
