#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "worker/engine/thinking.h"
#include "worker/serve/served_model.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::serve {

// Settles how the thinking of a request is steered: by what it says, where it does not by the
// worker's options, and where an earlier worker has settled it by that.
// Threads: immutable; any. Borrows both, which must outlive it.
class ThinkingReader {
 public:
  ThinkingReader(const text::Tokenizer& tokenizer, const ServedModel& model);

  // `max_tokens` as they are in force; `effective`, if not null, is resume.effective.
  // REQUIRES: rpc::CheckRequest of the request is OK.
  // Fails: INVALID_ARGUMENT, naming the field that the vocabulary cannot say, or that is out of its
  // range; FAILED_PRECONDITION, OPTIONS_DIFFER, what this worker's options do not allow.
  absl::StatusOr<engine::Thinking> Read(const v1::GenerateRequest& request, std::int32_t max_tokens,
                                        const v1::EffectiveOptions* effective) const;

 private:
  absl::StatusOr<engine::Thinking> ReadSteered(const v1::GenerateRequest& request,
                                               std::int32_t max_tokens,
                                               const v1::EffectiveOptions* effective) const;
  std::optional<engine::LoopLimits> LoopsOf(const v1::GenerateRequest& request) const;
  absl::StatusOr<engine::Thinking> Settle(const v1::GenerateRequest& request,
                                          std::int32_t max_tokens) const;
  absl::StatusOr<engine::Thinking> TakeOver(const v1::EffectiveOptions& effective,
                                            std::int32_t max_tokens) const;
  // Fails: `field`'s text has an id that the model has no row for.
  absl::StatusOr<std::vector<std::int32_t>> Encode(const std::string& text,
                                                   const char* field) const;
  absl::StatusOr<std::vector<std::int32_t>> TakeIds(
      const google::protobuf::RepeatedField<std::int32_t>& ids, const char* field) const;
  bool MayClose() const;  // the model has a think-end id

  const text::Tokenizer& tokenizer_;
  const ServedModel& model_;
  const std::shared_ptr<const engine::SentenceParts> sentence_parts_;
};

// As Started tells it.
v1::EffectiveOptions EffectiveOf(const engine::Thinking& thinking);

}  // namespace thinkwire::worker::serve
