-- DOT drawings: what `dot` would read. The grammar here is graphviz's own, as far as we use it.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"

--- The text as tokens: { kind, text }; kinds are id, string, punct. Raises at what is no token.
local function tokens(text)
  local list, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then return list end
    local word = text:match("^[%a_][%w_]*", at) or text:match("^%d+", at)
    local punct = text:match("^%->", at) or text:match("^[{}%[%]=;,]", at)
    if word then
      list[#list + 1] = { "id", word }
      at = at + #word
    elseif punct then
      list[#list + 1] = { "punct", punct }
      at = at + #punct
    elseif text:sub(at, at) == '"' then
      local stop = at + 1
      while text:sub(stop, stop) ~= '"' do
        assert(stop <= #text, "a string does not end")
        stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
      end
      list[#list + 1] = { "string", text:sub(at, stop) }
      at = stop + 1
    else
      error("no token at: " .. text:sub(at, at + 20))
    end
  end
end

--- Checks a drawing; gives the number of nodes, edges and clusters.
local function read_dot(text)
  local list, at = tokens(text), 1
  local declared, used, clusters = {}, {}, 0
  local function peek() return list[at] and list[at][2] end
  local function take(what)
    local t = assert(list[at], "the text ends early")
    assert(not what or t[2] == what, "expected " .. tostring(what) .. ", got " .. t[2])
    at = at + 1
    return t[2], t[1]
  end
  local function name()
    local word, kind = take()
    assert(kind ~= "punct", "a name is expected, got " .. word)
    return word
  end
  local function attributes()
    if peek() ~= "[" then return end
    take "["
    while peek() ~= "]" do
      name()
      take "="
      name()
      if peek() == "," then take() end
    end
    take "]"
  end
  local function statements()
    take "{"
    while peek() ~= "}" do
      local first = name()
      if first == "subgraph" then
        assert(name():match "^cluster_", "a cluster is expected")
        clusters = clusters + 1
        statements()
      elseif peek() == "=" then
        take()
        name()
        take ";"
      elseif peek() == "->" then
        take()
        used[#used + 1] = { first, name() }
        attributes()
        take ";"
      else
        assert(not declared[first], first .. " is there twice")
        declared[first] = true
        attributes()
        take ";"
      end
    end
    take "}"
  end
  take "digraph"
  name()
  statements()
  assert(at == #list + 1, "something follows the drawing")
  local n = 0
  for _ in pairs(declared) do n = n + 1 end
  for _, edge in ipairs(used) do
    assert(declared[edge[1]] and declared[edge[2]], "an edge between nodes that are not drawn: " .. edge[1] .. " " .. edge[2])
  end
  return n, #used, clusters
end

describe("DOT", function()
  for _, name in ipairs(graphs.names) do
    it("is well formed: " .. name, function()
      local g = graphs[name]()
      local nodes, edges = read_dot(g:dot())
      assert.is_true(nodes >= g:count() + #g:outputs())
      assert.is_true(edges >= #g:outputs())
    end)
  end

  it("draws each body in a cluster, also one that two nodes share", function()
    local _, _, clusters = read_dot((graphs.bodies()):dot())
    assert.is_true(clusters >= 5, clusters .. " clusters")
    _, _, clusters = read_dot((graphs.training()):dot())
    assert.equal(0, clusters)
  end)

  it("quotes names", function()
    local g = graphs.effects()
    assert.matches('in \\"put\\" \\\\ 1', g:dot())
  end)

  it("the checker sees mistakes", function()
    assert.has_error(function() read_dot 'digraph x { a [label="b]; }' end)
    assert.has_error(function() read_dot "digraph x { a -> b; }" end)
    assert.has_error(function() read_dot "digraph x { a; " end)
    assert.has_error(function() read_dot "digraph x { a; } }" end)
    assert.has_error(function() read_dot "digraph x { a; a; }" end)
    assert.same({ 1, 0, 0 }, { read_dot "digraph x { a; }" })
  end)

  it("of a released graph is refused", function()
    local x = core.placeholder("x", "f32", {})
    local g = core.graph({ x }, { x + 1 })
    g:release()
    assert.error_matches(function() g:dot() end, "released Graph")
  end)
end)
