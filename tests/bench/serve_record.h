#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace thinkwire::bench {

// How a stream ended; each ends in exactly one way.
enum class Outcome : std::uint8_t {
  kCompleted,  // status OK
  kRefused,    // by the server before Started: it is full, or the request was meant to be wrong
  kDeadline,   // the request's own
  kCancelled,  // by us, as planned
  kFailed,     // in any other way
};
inline constexpr Outcome kOutcomes[] = {Outcome::kCompleted, Outcome::kRefused, Outcome::kDeadline,
                                        Outcome::kCancelled, Outcome::kFailed};
inline constexpr const char* kOutcomeNames[] = {"completed", "refused", "deadline", "cancelled",
                                                "failed"};
inline const char* NameOf(Outcome outcome) {
  return kOutcomeNames[static_cast<std::size_t>(outcome)];
}

// Tokens as far as the client was told of them.
struct TokenCounts {
  std::int64_t prompt = 0;
  std::int64_t cached = 0;     // of the prompt, from the prefix cache
  std::int64_t reasoning = 0;  // </think> included
  std::int64_t answer = 0;     // end-of-sequence included
  std::int64_t discarded = 0;  // known of completed streams only

  std::int64_t output() const { return reasoning + answer; }
  TokenCounts& operator+=(const TokenCounts& other) {
    prompt += other.prompt;
    cached += other.cached;
    reasoning += other.reasoning;
    answer += other.answer;
    discarded += other.discarded;
    return *this;
  }
};

struct TokenArrival {
  double time = 0;
  std::int32_t tokens = 0;
};

// All that is kept of one stream. Times are seconds since the load began.
struct StreamRecord {
  std::int64_t index = 0;
  bool bad = false;  // had to be refused
  Outcome outcome = Outcome::kFailed;
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::string message;    // of a failure; else empty
  double come_again = 0;  // when the server that refused it said so; else 0
  TokenCounts tokens;

  double due = 0;  // when it was to be sent
  double sent = 0;
  std::optional<double> first_token;
  std::optional<double> first_reasoning_token;
  std::optional<double> first_answer_token;
  double last_token = 0;                // where there was a first one
  std::int64_t first_event_tokens = 0;  // tokens that came with the first
  double ended = 0;

  std::vector<TokenArrival> arrivals;   // where asked for; else empty
  std::vector<std::string> violations;  // of the contract
};

}  // namespace thinkwire::bench
