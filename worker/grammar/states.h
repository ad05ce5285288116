#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "worker/grammar/expressions.h"
#include "worker/grammar/vocabulary.h"

namespace thinkwire::worker::grammar {

// What a compiled grammar has learnt while it was used: the states that were reached, as tables of
// 256 entries, and their masks. A state's mask is a function of the grammar, the vocabulary and the
// texts that lead there, whatever was asked before.
// Owns: its copy of the expressions, which grows. Threads: one at a time.
class States {
 public:
  using Row = std::array<Expr, 256>;  // by byte: the state after it, or kNothing

  // REQUIRES: `compiled` is sealed.
  States(const Expressions& compiled, const Vocabulary& vocabulary);

  Expr After(Expr state, std::string_view bytes);
  bool matches_empty(Expr state) const { return expressions_.matches_empty(state); }
  // The bytes that come next whatever is drawn, kMaxForcedBytes at most; `end` is the state after.
  std::string ForcedBytes(Expr state, Expr* end);
  bool HasNext(Expr state);

  // The tokens after which the grammar can still be obeyed, and the ids that end the output where
  // it may end. REQUIRES: vocabulary.num_words() words.
  void Mask(Expr state, std::span<MaskWord> mask);

  // Whether so much is held that it should be forgotten.
  bool is_full() const;

  // A state of `other` in here. REQUIRES: of the same grammar
  Expr Import(const States& other, Expr state);

  std::size_t num_masks() const { return masks_.size(); }

 private:
  // A mask of few tokens as their ids, else as words.
  struct KeptMask {
    std::vector<std::int32_t> ids;
    std::vector<MaskWord> words;
  };

  // Null: the walk's work is spent.
  const Row* WalkRow(Expr state);
  const Row& RowOf(Expr state);
  bool FindMask(Expr state, std::span<MaskWord> mask);
  bool Walk(const TokenTree& tree, Expr state, std::span<MaskWord> mask);
  void Keep(Expr state, std::span<const MaskWord> mask);

  Expressions expressions_;
  const std::size_t num_compiled_;  // expressions at first
  const Vocabulary& vocabulary_;
  std::vector<std::int32_t> row_ids_;  // by expression, -1: none
  std::vector<std::unique_ptr<Row>> rows_;
  absl::flat_hash_map<Expr, KeptMask> masks_;
  // Of the walk that goes on.
  std::vector<std::uint32_t> met_in_walk_;  // by row
  std::uint32_t walk_ = 0;
  std::size_t work_ = 0;
  std::vector<const Row*> path_;
};

}  // namespace thinkwire::worker::grammar
