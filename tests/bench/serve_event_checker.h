#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/bench/serve_record.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::bench {

// Holds one stream to the contract, and counts its tokens:
//
// 1. Queued*, Started, ReasoningDelta*, ReasoningFinished?, AnswerDelta*, Finished, Completed;
// Moved
//    anywhere after Started. No reasoning where Started says that the answer comes first, no answer
//    before the reasoning is finished.
// 2. ReasoningFinished, Finished and usage say as many tokens as ids came; Started and usage as
// many
//    tokens of the prompt as it was given, where that is known.
// 3. No more than max_tokens ids; exactly so many where end-of-sequence is ignored.
// 4. OK with Completed, and never without.
//
// Threads: one at a time.
class EventChecker {
 public:
  explicit EventChecker(const v1::GenerateRequest& request);

  // The next event. Returns the ids that it carries.
  std::int32_t Add(const v1::GenerateResponse& event);

  // The last call.
  void End(const absl::Status& status);

  bool started() const { return place_ != Place::kBeforeStart; }
  const TokenCounts& tokens() const { return tokens_; }
  // The first few; empty: all was well.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  enum class Place {
    kBeforeStart,
    kStarted,
    kReasoning,
    kReasoned,
    kAnswer,
    kFinished,
    kCompleted
  };

  // Where `event` leads; nullopt: it has no place here.
  std::optional<Place> Next(const v1::GenerateResponse& event) const;
  std::int32_t CountTokens(const v1::GenerateResponse& event);
  void Violate(std::string what);
  void Expect(const char* what, std::int64_t said, std::int64_t counted);
  void OnStarted(const v1::Started& started);
  void OnFinished(const v1::Finished& finished);
  void OnCompleted(const v1::Usage& usage);

  const std::int64_t prompt_ids_;  // 0: not known
  const std::int64_t max_tokens_;
  const bool ignore_eos_;
  Place place_ = Place::kBeforeStart;
  v1::GenerateResponse::EventCase last_ = v1::GenerateResponse::EVENT_NOT_SET;  // the last event
  bool answer_first_ = false;
  bool order_broken_ = false;
  TokenCounts tokens_;
  std::vector<std::string> violations_;
};

}  // namespace thinkwire::bench
