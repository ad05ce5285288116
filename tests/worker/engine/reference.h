#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "tests/fakes/fake_runner.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"

namespace thinkwire::worker::engine {

inline constexpr std::int32_t kVocab = 1000;
inline constexpr std::int32_t kEos = 1;
inline constexpr std::int32_t kThinkEnd = 2;
inline constexpr std::int32_t kThink = 3;  // opens the reasoning where a request lets it
inline constexpr std::int32_t kBlank = 4;  // white space

struct Output {
  std::vector<Token> tokens;
  EndReason reason = EndReason::kLength;
};

// Tokens of an output that are not drawn, by their index in it.
struct ForcedToken {
  std::int32_t id = 0;
  TokenOrigin origin = TokenOrigin::kBudget;
};
using Forced = std::map<std::size_t, ForcedToken>;

// What `request` draws when it runs alone: the definition, one token after the other, without
// slots, blocks, chunks, phases' machine or plan. What its thinking says is forced besides
// `forced`. Its format, if it has any, is a FakeFormat.
Output Alone(const FakeModel& model, const Request& request, std::int32_t max_tokens,
             const Forced& forced = {});

// A request with `prompt_tokens` ids made from `seed`, which it also draws with.
Request MakeRequest(std::uint64_t seed, std::int32_t prompt_tokens, std::int32_t max_tokens);

// Likewise, but whether it begins with reasoning is the model's choice.
Request MakeOpenRequest(std::uint64_t seed, std::int32_t prompt_tokens, std::int32_t max_tokens);

// `count` outputs of `request`.
std::vector<Request> OutputsOf(const Request& request, std::uint32_t count);

// Closing ids 20, 22 and 25, continuing ids 23 and 24. Ids that 7 divides end a sentence; of the
// others those that 13 divides are digits, and those that 11 divides points.
Thinking MakeThinking();

step::Limits MakeLimits(std::int32_t max_in_flight);  // small, but nothing is tight

// EXPECTs that `tokens` are the first ones of `expected`, and all of them if `complete`.
void ExpectTokens(const std::vector<Token>& tokens, const Output& expected, bool complete);

}  // namespace thinkwire::worker::engine
