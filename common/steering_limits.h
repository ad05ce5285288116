#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace thinkwire {

// How a request's thinking is steered. Owners: rpc::CheckThinking, engine::CheckRequest. Over:
// INVALID_ARGUMENT. A request holds the texts' ids, and so does the router's ledger.
inline constexpr std::size_t kMaxForcedTextBytes = 1024;  // closing_text, continue_text
inline constexpr std::int64_t kMaxForcedIds = 1024;       // of either
// How far back an output looks for what repeats itself (engine::LoopDetector): up to 50 bytes and,
// each time that a token comes, at most one step a token; and what near repetition takes of its
// memory, in words of four bytes (engine::NearRepetition).
inline constexpr std::int32_t kMaxLoopPeriodTokens = 2048;
inline constexpr std::int32_t kMaxLoopRepeats = 1'000'000;
inline constexpr std::size_t kNearRepetitionWords = 32 << 10;
inline constexpr std::chrono::milliseconds kProgressInterval{500};  // of Progress, a sign of life

}  // namespace thinkwire
