// What Expressions says about derivatives; expressions.cc has how expressions are made.
#include <algorithm>
#include <utility>

#include "worker/grammar/characters.h"
#include "worker/grammar/expressions.h"

namespace thinkwire::worker::grammar {
namespace {

bool AreApart(const std::vector<Edge>& a, const std::vector<Edge>& b) {
  ByteSet all;
  for (const Edge& edge : a) all = all | edge.bytes;
  return std::none_of(b.begin(), b.end(),
                      [&all](const Edge& edge) { return !(edge.bytes & all).empty(); });
}

void AddEdge(const Edge& edge, std::vector<Edge>* edges) {
  for (Edge& known : *edges) {
    if (known.then != edge.then) continue;
    known.bytes = known.bytes | edge.bytes;
    return;
  }
  edges->push_back(edge);
}

}  // namespace

const std::vector<Edge>& Expressions::Edges(Expr a) {
  while (nodes_[a].kind == Kind::kRule) a = nodes_[a].a;
  if (!nodes_[a].has_edges) {
    std::vector<Edge> edges = FindEdges(a);
    edges_[a] = std::move(edges);
    nodes_[a].has_edges = true;
  }
  return edges_[a];
}

Expr Expressions::After(Expr a, std::uint8_t byte) {
  for (const Edge& edge : Edges(a)) {
    if (edge.bytes.Has(byte)) return edge.then;
  }
  return kNothing;
}

bool Expressions::Matches(Expr a, std::string_view text) {
  for (const char c : text) a = After(a, static_cast<std::uint8_t>(c));
  return matches_empty(a);
}

std::vector<Edge> Expressions::FindEdges(Expr a) {
  const Node node = nodes_[a];
  switch (node.kind) {
    case Kind::kBytes:
      return {{sets_[node.a], kEmptyText}};
    case Kind::kConcat:
      return EdgesOfConcat(node.a, node.b);
    case Kind::kAnyOf:
    case Kind::kAllOf: {
      const auto parts = children(node);
      const std::vector<Expr> copy(parts.begin(), parts.end());
      return node.kind == Kind::kAnyOf ? EdgesOfAnyOf(copy) : EdgesOfAllOf(copy);
    }
    case Kind::kRepeat:
      return EdgesOfRepeat(node);
    default:
      return {};
  }
}

std::vector<Edge> Expressions::EdgesOfConcat(Expr a, Expr b) {
  std::vector<Edge> edges;
  if (const Node head = nodes_[a]; head.kind == Kind::kRepeat) {
    edges = Edges(head.a);
    const Expr rest = Concat(OneLess(head), b);  // one node for all edges
    for (Edge& edge : edges) edge.then = Concat(edge.then, rest);
  } else {
    edges = Edges(a);
    for (Edge& edge : edges) edge.then = Concat(edge.then, b);
  }
  if (!matches_empty(a)) return edges;
  const std::vector<Edge>& others = Edges(b);
  if (AreApart(edges, others)) {  // as nearly always: quicker
    edges.insert(edges.end(), others.begin(), others.end());
    return edges;
  }
  std::vector<Piece> pieces;
  for (const Edge& edge : edges) AddPiece(edge, &pieces);
  for (const Edge& edge : others) AddPiece(edge, &pieces);
  return Join(std::move(pieces));
}

Expr Expressions::OneLess(const Node& repeat) {
  const std::int32_t max = repeat.max == kUnbounded ? kUnbounded : repeat.max - 1;
  return Repeat(repeat.a, std::max(repeat.min - 1, 0), max);
}

std::vector<Edge> Expressions::EdgesOfRepeat(const Node& node) {
  const Expr rest = OneLess(node);
  std::vector<Edge> edges = Edges(node.a);
  for (Edge& edge : edges) edge.then = Concat(edge.then, rest);
  return edges;
}

std::vector<Edge> Expressions::EdgesOfAnyOf(const std::vector<Expr>& alternatives) {
  std::vector<Piece> pieces;
  for (const Expr alternative : alternatives) {
    for (const Edge& edge : Edges(alternative)) AddPiece(edge, &pieces);
  }
  return Join(std::move(pieces));
}

void Expressions::AddPiece(const Edge& edge, std::vector<Piece>* pieces) {
  ByteSet rest = edge.bytes;
  const std::size_t num_pieces = pieces->size();
  for (std::size_t i = 0; i < num_pieces && !rest.empty(); ++i) {
    const ByteSet both = (*pieces)[i].bytes & rest;
    if (both.empty()) continue;
    const ByteSet apart = (*pieces)[i].bytes - both;
    if (!apart.empty()) {
      pieces->push_back({apart, (*pieces)[i].then});
      (*pieces)[i].bytes = both;
    }
    (*pieces)[i].then.push_back(edge.then);
    rest = rest - both;
  }
  if (!rest.empty()) pieces->push_back({rest, {edge.then}});
}

// Pieces that lead to the same become one.
std::vector<Edge> Expressions::Join(std::vector<Piece> pieces) {
  std::vector<Edge> edges;
  for (Piece& piece : pieces) {
    const Expr then = piece.then.size() == 1 ? piece.then.front() : AnyOf(std::move(piece.then));
    if (then != kNothing) AddEdge({piece.bytes, then}, &edges);
  }
  return edges;
}

std::vector<Edge> Expressions::EdgesOfAllOf(const std::vector<Expr>& conditions) {
  std::vector<Edge> edges = Edges(conditions.front());
  for (std::size_t i = 1; i < conditions.size(); ++i) {
    const std::vector<Edge> others = Edges(conditions[i]);
    std::vector<Edge> both;
    for (const Edge& a : edges) {
      for (const Edge& b : others) {
        const ByteSet bytes = a.bytes & b.bytes;
        if (bytes.empty()) continue;
        if (const Expr then = AllOf({a.then, b.then}); then != kNothing) {
          both.push_back({bytes, then});
        }
      }
    }
    edges = std::move(both);
  }
  return edges;
}

ByteSet Expressions::AfterPlain(Expr a) {
  if (nodes_[a].kind != Kind::kConcat) return {};
  const Node head = nodes_[nodes_[a].a];
  const Expr one = head.kind == Kind::kRepeat ? head.a : nodes_[a].a;
  if (!nodes_[one].covers_plain) return {};
  ByteSet after;
  for (const Edge& edge : Edges(nodes_[a].b)) after = after | edge.bytes;
  bool plain = false;
  after.ForEach([&plain](std::uint8_t byte) { plain = plain || IsPlain(byte); });
  if (plain) return {};
  for (const Edge& edge : Edges(one)) after = after | edge.bytes;
  return after;
}

bool Expressions::Settle(Expr intersection, std::size_t max_states) {
  std::vector<Expr> states = {intersection};
  absl::flat_hash_map<Expr, std::size_t> places = {{intersection, 0}};
  std::vector<std::vector<std::size_t>> before(1);  // by state: where it is reached from
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states.size() > max_states) return false;
    for (const Edge& edge : std::vector<Edge>(Edges(states[i]))) {
      const auto [entry, is_new] = places.try_emplace(edge.then, states.size());
      if (is_new) {
        states.push_back(edge.then);
        before.emplace_back();
      }
      before[entry->second].push_back(i);
    }
  }
  std::vector<bool> alive(states.size());
  std::vector<std::size_t> todo;
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (!matches_empty(states[i])) continue;
    alive[i] = true;
    todo.push_back(i);
  }
  while (!todo.empty()) {
    const std::size_t reached = todo.back();
    todo.pop_back();
    for (const std::size_t i : before[reached]) {
      if (!alive[i]) todo.push_back(i);
      alive[i] = true;
    }
  }
  for (std::size_t i = 0; i < states.size(); ++i) {
    // Only intersections can be dead without being kNothing, but for what is made of them.
    if (!alive[i]) nodes_[states[i]].dead = true;
  }
  return true;
}

}  // namespace thinkwire::worker::grammar
