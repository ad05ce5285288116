#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "worker/grammar/byte_set.h"

namespace thinkwire::worker::grammar {

// An expression, by its place among all of an Expressions.
using Expr = std::int32_t;
inline constexpr Expr kNothing = 0;    // matches no text at all
inline constexpr Expr kEmptyText = 1;  // matches the empty text alone

// What may follow: after any of `bytes`, `then`.
struct Edge {
  ByteSet bytes;
  Expr then;
};

// Expressions over bytes that name a language: regular ones, and rules that may name each other,
// which makes them context-free. An expression is at once a state of the matcher: what is still to
// come. The state after a byte is the derivative by it (Brzozowski, "Derivatives of regular
// expressions", JACM 11(4), 1964; for context-free languages Might, Darais, Spiewak, "Parsing with
// derivatives", ICFP 2011), of which all are found at once, by sets of bytes that lead to the same
// (Owens, Reppy, Turon, "Regular-expression derivatives re-examined", JFP 19(2), 2009). The stack
// of a pushdown automaton is the right side of a concatenation, shared by all that reached it; its
// lexer is the left one. Counted repetition is a number in a node and costs no states until used.
//
// 1. Equal expressions are one node, so that states can be compared and cached by number.
// 2. What is no kNothing can be matched, but for intersections that `Settle` has not seen and rules
//    that need more nesting than any text has: `nesting` tells these apart, once `Seal` was called.
// 3. Nesting counts closers: in a text of a language, that many were owed at once at most.
// Threads: one at a time. Copyable: the same numbers mean the same in the copy.
class Expressions {
 public:
  static constexpr std::int32_t kUnbounded = INT32_MAX;  // repetitions
  static constexpr int kTooDeep = 1 << 20;               // the nesting of what cannot be matched

  Expressions();

  Expr Bytes(const ByteSet& bytes) { return BytesNode(bytes, false); }
  // A single byte that ends a nesting.
  Expr Closer(char c);
  Expr Literal(std::string_view text);
  Expr Concat(Expr a, Expr b);
  Expr Concat(std::initializer_list<Expr> parts);
  Expr AnyOf(std::vector<Expr> alternatives);
  Expr AllOf(std::vector<Expr> conditions);
  Expr Optional(Expr a) { return AnyOf({a, kEmptyText}); }
  // REQUIRES: 0 <= min, max >= 0; nothing where max < min.
  Expr Repeat(Expr a, std::int32_t min, std::int32_t max);

  // A name for what DefineRule says later. REQUIRES of `body`: it does not match the empty text,
  // and does not begin with a rule that leads back to this one.
  Expr NewRule();
  void DefineRule(Expr rule, Expr body);
  // The same of a body that is known, so that what holds it stays small.
  Expr Name(Expr body);

  // Says that `a`, which matches single characters, matches all plain ones (characters.h).
  void MarkCoversPlain(Expr a) { nodes_[a].covers_plain = true; }

  // Follows all derivatives of an intersection and marks those that match nothing. False: there are
  // more than `max_states`.
  bool Settle(Expr intersection, std::size_t max_states);

  // Finds the nesting of all there is. REQUIRES: every rule is defined; none comes later.
  void Seal();

  bool matches_empty(Expr a) const { return nodes_[a].matches_empty; }
  // The least nesting of a text that matches, kTooDeep or more where there is none.
  // REQUIRES: sealed
  int nesting(Expr a) const { return nodes_[a].nesting; }
  // How many alternatives a state has: what its derivatives cost.
  std::size_t num_alternatives(Expr a) const;
  // Every plain text of up to so many characters can come next, and something after it whose
  // nesting is at most `max_nesting`.
  std::int32_t num_plain(Expr a, int max_nesting) const;
  // Of a state that is a run of plain characters and then something else, and nothing beside: the
  // bytes that can come after a plain text of up to num_plain() characters. Empty: it is not known
  // to be one, or a plain character may come after the run.
  ByteSet AfterPlain(Expr a);

  // The derivatives; their sets are disjoint. Valid until the next call of anything.
  const std::vector<Edge>& Edges(Expr a);
  // The derivative by one byte, kNothing where it cannot come.
  Expr After(Expr a, std::uint8_t byte);

  bool Matches(Expr a, std::string_view text);

  std::size_t num_nodes() const { return nodes_.size(); }

  // `a` of `other`, in here. REQUIRES: both are copies of one, whose first `num_common` nodes they
  // have in common.
  Expr Import(const Expressions& other, Expr a, std::size_t num_common);

 private:
  enum class Kind : std::uint8_t {
    kNothing,
    kEmpty,
    kBytes,
    kConcat,
    kAnyOf,
    kAllOf,
    kRepeat,
    kRule
  };

  struct Node {
    Kind kind = Kind::kNothing;
    bool matches_empty = false;
    bool covers_plain = false;
    bool has_edges = false;
    bool dead = false;     // an intersection that matches nothing
    std::int32_t a = 0;    // expression; of kBytes its set; of kAnyOf and kAllOf the first child
    std::int32_t b = 0;    // expression; of kAnyOf and kAllOf how many; of kBytes: closers
    std::int32_t min = 0;  // of kRepeat
    std::int32_t max = 0;
    std::int32_t closers = 0;  // that a text surely has beyond its openers
    std::int32_t nesting = 0;
  };
  // What makes a node what it is.
  struct Key {
    Kind kind;
    std::int32_t a, b, min, max;
    std::vector<Expr> children;
    friend bool operator==(const Key&, const Key&) = default;
    template <class Hash>
    friend Hash AbslHashValue(Hash state, const Key& key) {
      return Hash::combine(std::move(state), key.kind, key.a, key.b, key.min, key.max,
                           key.children);
    }
  };
  // Sets of bytes and what each leads to, while they are being cut into disjoint ones.
  struct Piece {
    ByteSet bytes;
    std::vector<Expr> then;
  };

  Expr BytesNode(const ByteSet& bytes, bool closer);
  Expr Intern(Key key, bool matches_empty);
  Expr Add(Node node);
  std::vector<Expr> Flat(Kind kind, const std::vector<Expr>& parts) const;
  int NestingOf(const Node& node) const;
  int ClosersOf(const Node& node) const;
  std::span<const Expr> children(const Node& node) const {
    return {children_.data() + node.a, static_cast<std::size_t>(node.b)};
  }

  std::vector<Edge> FindEdges(Expr a);
  std::vector<Edge> EdgesOfConcat(Expr a, Expr b);
  std::vector<Edge> EdgesOfAnyOf(const std::vector<Expr>& alternatives);
  std::vector<Edge> EdgesOfAllOf(const std::vector<Expr>& conditions);
  std::vector<Edge> EdgesOfRepeat(const Node& node);
  Expr OneLess(const Node& repeat);
  static void AddPiece(const Edge& edge, std::vector<Piece>* pieces);
  std::vector<Edge> Join(std::vector<Piece> pieces);
  Expr ImportNode(const Expressions& other, const Node& node, std::size_t num_common);

  std::vector<Node> nodes_;
  std::vector<Expr> children_;
  std::vector<ByteSet> sets_;
  std::vector<std::vector<Edge>> edges_;
  absl::flat_hash_map<Key, Expr> ids_;
  absl::flat_hash_map<ByteSet, std::int32_t> set_ids_;
  bool sealed_ = false;
};

}  // namespace thinkwire::worker::grammar
