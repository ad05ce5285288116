#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "worker/grammar/expressions.h"
#include "worker/grammar/states.h"
#include "worker/grammar/vocabulary.h"

namespace thinkwire::worker::grammar {

// What the answer must be.
struct JsonSchemaFormat {
  std::string schema;  // its text
};
struct RegexFormat {
  std::string pattern;  // of the whole answer
};
struct ChoicesFormat {
  std::vector<std::string> choices;
};
using AnswerFormat = std::variant<JsonSchemaFormat, RegexFormat, ChoicesFormat>;

// A format and a vocabulary: which tokens may come next in an answer. From every state that a
// Matcher can be in, some token leads on or the output may end, so that there is no dead end.
//
// It is a function of format, vocabulary and ids alone: whoever replays the ids of an answer is
// where it was, on any worker. What is learnt on the way (States) is shared by all its matchers.
// Threads: all may be called from any thread at once. Masks that are not known yet are found one at
// a time, each within kMaxMaskWork; whoever asks for something else does not wait for them.
class Grammar {
 public:
  // Takes some milliseconds; text threads should call it, not the engine's.
  // Fails: INVALID_ARGUMENT for a format that is not supported, too large, or that nothing matches.
  static absl::StatusOr<std::shared_ptr<const Grammar>> Compile(
      const AnswerFormat& format, std::shared_ptr<const Vocabulary> vocabulary);

  const Vocabulary& vocabulary() const { return *vocabulary_; }

  // As compiled, about; while it is used it holds more (kMaxUsedNodes and what follows).
  std::size_t bytes() const { return compiled_.num_nodes() * kGrammarNodeBytes; }

 private:
  friend class Matcher;

  Grammar(Expressions compiled, Expr start, std::shared_ptr<const Vocabulary> vocabulary);

  // Constant after construction.
  const std::shared_ptr<const Vocabulary> vocabulary_;
  const Expressions compiled_;
  const Expr start_;

  mutable Mutex mu_;
  mutable std::shared_ptr<States> states_ ABSL_GUARDED_BY(mu_);
};

// Where one answer is in its grammar. Begins before the first token of the answer.
// Copyable; copies go on apart. Threads: one at a time, of each.
class Matcher {
 public:
  explicit Matcher(std::shared_ptr<const Grammar> grammar);

  // Takes the next id. False, and nothing changes: the grammar does not allow it. An id that ends
  // the output is taken where the answer is complete.
  bool Accept(std::int32_t id);

  // Which ids Accept would take. REQUIRES: vocabulary().num_words() words.
  void NextMask(std::span<MaskWord> mask);

  // What makes the next NextMask one of a known mask, if it is not yet: for any thread and at any
  // time, as it needs neither this matcher nor what becomes of it.
  std::function<void()> MaskWork();

  // The ids that come next whatever is drawn: all that follows is the same in every answer from
  // here, up to where it is not, and spelled as the tokenizer spells it. Often none. The last token
  // is left to be drawn where it could be joined by what follows.
  std::vector<std::int32_t> ForcedRun();

  // The answer may end here; nothing else may come.
  bool IsComplete() const;
  bool IsOver() const;

  // Takes back the last `num_ids`. REQUIRES: so many were accepted, and num_ids <= kMaxRewind.
  void Rewind(std::size_t num_ids);

 private:
  void Update() ABSL_EXCLUSIVE_LOCKS_REQUIRED(grammar_->mu_);

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<States> states_;  // that `state_` and `past_` are of; used under the lock
  Expr state_;
  std::deque<Expr> past_;  // before each of the last ids
};

}  // namespace thinkwire::worker::grammar
