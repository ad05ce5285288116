#include "worker/grammar/expressions.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::grammar {

Expressions::Expressions() {
  Node nothing;
  nothing.nesting = kTooDeep;
  Add(nothing);
  Node empty;
  empty.kind = Kind::kEmpty;
  empty.matches_empty = true;
  Add(empty);
}

Expr Expressions::Add(Node node) {
  if (sealed_) node.nesting = NestingOf(node);
  nodes_.push_back(node);
  edges_.emplace_back();
  return static_cast<Expr>(nodes_.size() - 1);
}

Expr Expressions::Intern(Key key, bool matches_empty) {
  const auto [entry, is_new] = ids_.try_emplace(std::move(key), 0);
  if (!is_new) return entry->second;
  const Key& known = entry->first;
  Node node;
  node.kind = known.kind;
  node.matches_empty = matches_empty;
  node.a = known.a;
  node.b = known.b;
  node.min = known.min;
  node.max = known.max;
  if (!known.children.empty()) {
    node.a = static_cast<std::int32_t>(children_.size());
    node.b = static_cast<std::int32_t>(known.children.size());
    children_.insert(children_.end(), known.children.begin(), known.children.end());
  }
  node.closers = ClosersOf(node);
  return entry->second = Add(node);
}

Expr Expressions::BytesNode(const ByteSet& bytes, bool closer) {
  if (bytes.empty()) return kNothing;
  const auto [entry, is_new] = set_ids_.try_emplace(bytes, static_cast<std::int32_t>(sets_.size()));
  if (is_new) sets_.push_back(bytes);
  return Intern({Kind::kBytes, entry->second, closer ? 1 : 0, 0, 0, {}}, false);
}

Expr Expressions::Closer(char c) {
  const auto byte = static_cast<std::uint8_t>(c);
  return BytesNode(ByteSet(byte, byte), true);
}

Expr Expressions::Literal(std::string_view text) {
  Expr literal = kEmptyText;
  for (auto c = text.rbegin(); c != text.rend(); ++c) {
    const auto byte = static_cast<std::uint8_t>(*c);
    literal = Concat(Bytes(ByteSet(byte, byte)), literal);
  }
  return literal;
}

Expr Expressions::Concat(Expr a, Expr b) {
  if (a == kNothing || b == kNothing) return kNothing;
  if (a == kEmptyText) return b;
  std::vector<Expr> parts;  // right-nested, so that what follows is one node for all who share it
  for (; nodes_[a].kind == Kind::kConcat; a = nodes_[a].b) parts.push_back(nodes_[a].a);
  parts.push_back(a);
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (b == kEmptyText) {
      b = *part;
    } else {
      b = Intern({Kind::kConcat, *part, b, 0, 0, {}}, matches_empty(*part) && matches_empty(b));
    }
  }
  return b;
}

Expr Expressions::Concat(std::initializer_list<Expr> parts) {
  Expr chain = kEmptyText;
  for (auto part = std::rbegin(parts); part != std::rend(parts); ++part) {
    chain = Concat(*part, chain);
  }
  return chain;
}

std::vector<Expr> Expressions::Flat(Kind kind, const std::vector<Expr>& parts) const {
  std::vector<Expr> flat;
  for (const Expr part : parts) {
    if (nodes_[part].kind == kind) {
      const auto inner = children(nodes_[part]);
      flat.insert(flat.end(), inner.begin(), inner.end());
    } else {
      flat.push_back(part);
    }
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  return flat;
}

Expr Expressions::AnyOf(std::vector<Expr> alternatives) {
  alternatives = Flat(Kind::kAnyOf, alternatives);
  if (!alternatives.empty() && alternatives.front() == kNothing) {
    alternatives.erase(alternatives.begin());
  }
  if (alternatives.empty()) return kNothing;
  if (alternatives.size() == 1) return alternatives.front();
  const bool empty = std::any_of(alternatives.begin(), alternatives.end(),
                                 [this](Expr a) { return matches_empty(a); });
  return Intern({Kind::kAnyOf, 0, 0, 0, 0, std::move(alternatives)}, empty);
}

Expr Expressions::AllOf(std::vector<Expr> conditions) {
  conditions = Flat(Kind::kAllOf, conditions);
  CHECK(!conditions.empty(), "an intersection of something");
  if (conditions.size() == 1) return conditions.front();
  if (conditions.front() == kNothing) return kNothing;
  const bool empty = std::all_of(conditions.begin(), conditions.end(),
                                 [this](Expr a) { return matches_empty(a); });
  if (conditions.front() == kEmptyText) return empty ? kEmptyText : kNothing;
  return Intern({Kind::kAllOf, 0, 0, 0, 0, std::move(conditions)}, empty);
}

Expr Expressions::Repeat(Expr a, std::int32_t min, std::int32_t max) {
  if (max < min) return kNothing;
  if (max == 0 || a == kEmptyText) return kEmptyText;
  if (a == kNothing) return min == 0 ? kEmptyText : kNothing;
  if (min == 1 && max == 1) return a;
  if (matches_empty(a)) min = 0;
  return Intern({Kind::kRepeat, a, 0, min, max, {}}, min == 0);
}

Expr Expressions::NewRule() {
  Node rule;
  rule.kind = Kind::kRule;
  rule.a = kNothing;
  return Add(rule);
}

void Expressions::DefineRule(Expr rule, Expr body) {
  CHECK(!matches_empty(body), "a rule matches some text");
  nodes_[rule].a = body;
}

Expr Expressions::Name(Expr body) {
  if (body == kNothing) return kNothing;
  const Expr rule = NewRule();
  DefineRule(rule, body);
  return rule;
}

int Expressions::ClosersOf(const Node& node) const {
  if (node.kind == Kind::kBytes) return node.b;
  if (node.kind == Kind::kConcat) return nodes_[node.a].closers + nodes_[node.b].closers;
  return 0;
}

int Expressions::NestingOf(const Node& node) const {
  const auto nesting_of = [this](Expr a) { return nodes_[a].nesting; };
  switch (node.kind) {
    case Kind::kNothing:
      return kTooDeep;
    case Kind::kEmpty:
      return 0;
    case Kind::kBytes:
      return node.b;
    case Kind::kConcat:
      return std::min(kTooDeep,
                      std::max(nesting_of(node.a) + nodes_[node.b].closers, nesting_of(node.b)));
    case Kind::kAnyOf: {
      int least = kTooDeep;
      for (const Expr child : children(node)) least = std::min(least, nesting_of(child));
      return least;
    }
    case Kind::kAllOf:
      return node.dead ? kTooDeep : 0;
    case Kind::kRepeat:
      return node.min == 0 ? 0 : nesting_of(node.a);
    case Kind::kRule:
      return nesting_of(node.a);
  }
  return kTooDeep;
}

void Expressions::Seal() {
  for (Node& node : nodes_) node.nesting = kTooDeep;
  // What is needed only falls, from too deep for all: Knuth, "A generalization of Dijkstra's
  // algorithm", Information Processing Letters 6(1), 1977, without its order.
  for (bool changed = true; changed;) {
    changed = false;
    for (Node& node : nodes_) {
      const int nesting = NestingOf(node);
      changed = changed || nesting != node.nesting;
      node.nesting = nesting;
    }
  }
  sealed_ = true;
}

std::size_t Expressions::num_alternatives(Expr a) const {
  while (nodes_[a].kind == Kind::kConcat) a = nodes_[a].a;
  const Node& node = nodes_[a];
  return node.kind == Kind::kAnyOf || node.kind == Kind::kAllOf ? node.b : 1;
}

std::int32_t Expressions::num_plain(Expr a, int max_nesting) const {
  const Node& node = nodes_[a];
  if (node.covers_plain) return 1;
  switch (node.kind) {
    case Kind::kRepeat:
      return nodes_[node.a].covers_plain ? node.max : 0;
    case Kind::kConcat:
      return num_plain(node.a, max_nesting - nodes_[node.b].closers);
    case Kind::kRule:
      return num_plain(node.a, max_nesting);
    case Kind::kAnyOf: {
      std::int32_t most = 0;
      for (const Expr child : children(node)) {
        if (nesting(child) <= max_nesting) most = std::max(most, num_plain(child, max_nesting));
      }
      return most;
    }
    default:
      return 0;
  }
}

Expr Expressions::Import(const Expressions& other, Expr a, std::size_t num_common) {
  std::vector<Expr> parts;  // of a chain, which may be long
  for (; static_cast<std::size_t>(a) >= num_common && other.nodes_[a].kind == Kind::kConcat;
       a = other.nodes_[a].b) {
    parts.push_back(other.nodes_[a].a);
  }
  Expr chain =
      static_cast<std::size_t>(a) < num_common ? a : ImportNode(other, other.nodes_[a], num_common);
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    chain = Concat(Import(other, *part, num_common), chain);
  }
  return chain;
}

Expr Expressions::ImportNode(const Expressions& other, const Node& node, std::size_t num_common) {
  if (node.kind == Kind::kBytes) return BytesNode(other.sets_[node.a], node.b != 0);
  if (node.kind == Kind::kRepeat) {
    return Repeat(Import(other, node.a, num_common), node.min, node.max);
  }
  std::vector<Expr> parts;
  for (const Expr child : other.children(node)) {
    parts.push_back(Import(other, child, num_common));
  }
  return node.kind == Kind::kAnyOf ? AnyOf(std::move(parts)) : AllOf(std::move(parts));
}

}  // namespace thinkwire::worker::grammar
