#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/distill_splitter.h"
#include "worker/text/piece_batch.h"
#include "worker/text/regex_splitter.h"

namespace thinkwire::worker::text {

// Cuts text into the pieces that BPE works on: Hugging Face's `Split` pre-tokenizers (behavior
// Isolated: a match and the text between two matches are both pieces), one after the other, each on
// the pieces of the one before. The distills' patterns are cut by hand-written code, all others by
// PCRE2.
// Threads: immutable; Split may be called from any thread at once.
class Splitter {
 public:
  // Fails: as RegexSplitter::Create.
  static absl::StatusOr<Splitter> Create(const std::vector<std::string>& patterns);

  // Hands the pieces of `utf8` (valid) to `sink`, in order; joined they are `utf8`, none is empty.
  void Split(std::string_view utf8, PieceSink sink) const;

 private:
  Splitter() = default;

  // Constant after construction; one of them is there.
  std::optional<DistillSplitter> distill_;
  std::optional<RegexSplitter> regex_;
};

}  // namespace thinkwire::worker::text
