#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "common/mutex.h"
#include "worker/grammar/expressions.h"
#include "worker/grammar/vocabulary.h"

namespace thinkwire::worker::grammar {

// What a compiled grammar has learnt while it was used: the states that were reached, as tables of
// 256 entries, and their masks. A state's mask is a function of the grammar, the vocabulary and the
// texts that lead there, whatever was asked before.
// Owns: its copy of the expressions, which grows.
// Threads: one at a time, by a lock of its owner's; FindMask alone takes that lock itself, each
// time for as long as a state takes to be made, so that others need not wait for a whole mask.
class States {
 public:
  // REQUIRES: `compiled` is sealed.
  States(const Expressions& compiled, const Vocabulary& vocabulary);

  Expr After(Expr state, std::string_view bytes);
  bool matches_empty(Expr state) const { return expressions_.matches_empty(state); }
  // The bytes that come next whatever is drawn, kMaxForcedBytes at most; `end` is the state after.
  std::string ForcedBytes(Expr state, Expr* end);
  bool HasNext(Expr state);

  // The tokens after which the grammar can still be obeyed, and the ids that end the output where
  // it may end, if that is known. REQUIRES: vocabulary.num_words() words.
  bool TellMask(Expr state, std::span<MaskWord> mask) const;
  bool knows_mask(Expr state) const { return masks_.contains(state); }
  // Finds it, one mask at a time; from then on it is known. `owner` is the lock that the rest
  // needs. REQUIRES: it is not held; vocabulary.num_words() words.
  void FindMask(Expr state, std::span<MaskWord> mask, Mutex& owner)
      ABSL_LOCKS_EXCLUDED(owner, walk_mu_);

  // Whether so much is held that it should be forgotten.
  bool is_full() const;

  // A state of `other` in here. REQUIRES: of the same grammar
  Expr Import(const States& other, Expr state);

  std::size_t num_masks() const { return masks_.size(); }

 private:
  // Letters of ASCII, whichever: small ones, or capitals too.
  struct Letters {
    Expr after = kNothing;     // one of them, where the state then is the same
    std::uint32_t run_of = 0;  // `run` is of this walk
    std::int32_t run = 0;      // can come one after another, kMaxLetters at most
  };
  struct Row {
    std::array<Expr, 256> after = {};     // by byte: the state then, or kNothing
    std::array<Letters, 2> letters = {};  // by whether capitals are among them
    std::size_t alternatives = 0;         // what it costs
    std::uint32_t met = 0;                // in which walk last
  };
  // A mask of few tokens as their ids, else as words.
  struct KeptMask {
    std::vector<std::int32_t> ids;
    std::vector<MaskWord> words;
  };
  // The walk that goes on, under walk_mu_.
  struct Round {
    Expr state = kNothing;
    std::int32_t num_plain = 0;
    ByteSet after_plain;
    Mutex& owner;
    std::size_t work = 0;
  };

  bool WalkAll(Round& round, std::span<MaskWord> mask) ABSL_EXCLUSIVE_LOCKS_REQUIRED(walk_mu_);
  bool Walk(const TokenTree& tree, Round& round, std::span<MaskWord> mask)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(walk_mu_);
  void SetSingleBytes(Round& round, std::span<MaskWord> mask)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(walk_mu_);
  // Null: the walk's work is spent.
  Row* WalkRow(Expr state, Round& round) ABSL_EXCLUSIVE_LOCKS_REQUIRED(walk_mu_);
  Row& RowOf(Expr state, Mutex& owner) ABSL_EXCLUSIVE_LOCKS_REQUIRED(walk_mu_);
  std::unique_ptr<Row> MakeRow(Expr state);
  // Letters::run of `row`, -1: the walk's work is spent.
  std::int32_t RunOf(Row& row, bool capitals, Round& round) ABSL_EXCLUSIVE_LOCKS_REQUIRED(walk_mu_);
  static KeptMask Kept(std::span<const MaskWord> mask);

  Expressions expressions_;
  const std::size_t num_compiled_;  // expressions at first
  const Vocabulary& vocabulary_;
  absl::flat_hash_map<Expr, KeptMask> masks_;
  std::size_t num_rows_ = 0;

  Mutex walk_mu_;                                                // before the owner's
  std::vector<std::int32_t> row_ids_ ABSL_GUARDED_BY(walk_mu_);  // by expression, -1: none
  std::vector<std::unique_ptr<Row>> rows_ ABSL_GUARDED_BY(walk_mu_);
  std::vector<const Row*> path_ ABSL_GUARDED_BY(walk_mu_);
  std::uint32_t walk_ ABSL_GUARDED_BY(walk_mu_) = 0;
};

}  // namespace thinkwire::worker::grammar
