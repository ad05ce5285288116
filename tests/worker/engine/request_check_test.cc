#include "worker/engine/request_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::string Refusal(const Request& request, const step::Limits& limits) {
  const absl::StatusOr<std::int32_t> checked = CheckRequest(request, limits);
  if (checked.ok()) return "accepted";
  EXPECT_EQ(checked.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(checked.status().message());
}

TEST(CheckRequest, GivesTheTokensThatItMayDraw) {
  const step::Limits limits = MakeLimits(1);
  EXPECT_EQ(CheckRequest(MakeRequest(1, 10, 20), limits).value(), 20);
  EXPECT_EQ(CheckRequest(MakeRequest(1, 10, 246), limits).value(), 246);
  Request unset = MakeRequest(1, 10, 1);
  unset.max_tokens.reset();
  EXPECT_EQ(CheckRequest(unset, limits).value(), 246);
}

TEST(CheckRequest, UnsetMaxTokensIsCutToTheCache) {
  step::Limits limits = MakeLimits(1);
  limits.num_blocks = 5;  // 20 inputs, and one token that is never an input
  Request unset = MakeRequest(1, 10, 1);
  unset.max_tokens.reset();
  EXPECT_EQ(CheckRequest(unset, limits).value(), 11);
  EXPECT_EQ(CheckRequest(MakeRequest(1, 20, 1), limits).value(), 1);
}

TEST(CheckRequest, NamesBothNumbersOfWhatCannotFit) {
  step::Limits limits = MakeLimits(1);
  EXPECT_EQ(Refusal(MakeRequest(1, 10, 247), limits),
            "prompt of 10 tokens + max_tokens 247 exceeds the context of 256 tokens");
  EXPECT_EQ(Refusal(MakeRequest(1, 10, std::numeric_limits<std::int32_t>::max()), limits),
            "prompt of 10 tokens + max_tokens 2147483647 exceeds the context of 256 tokens");
  EXPECT_EQ(Refusal(MakeRequest(1, 256, 1), limits),
            "prompt of 256 tokens + 1 exceeds the context of 256 tokens");
  limits.num_blocks = 5;
  EXPECT_EQ(Refusal(MakeRequest(1, 10, 12), limits),
            "prompt of 10 tokens + max_tokens 12 exceeds the whole KV cache of 20 tokens");
  EXPECT_EQ(Refusal(MakeRequest(1, 21, 1), limits),
            "prompt of 21 tokens exceeds the whole KV cache of 20 tokens");
}

TEST(CheckRequest, RefusesWhatIsOutOfRange) {
  const std::vector<std::pair<std::function<void(Request&)>, std::string>> cases = {
      {[](Request& r) { r.prompt_ids.clear(); }, "the prompt has no tokens"},
      {[](Request& r) { r.prompt_ids[3] = -1; }, "prompt id -1 is not in the vocabulary of 1000"},
      {[](Request& r) { r.prompt_ids[3] = kVocab; },
       "prompt id 1000 is not in the vocabulary of 1000"},
      {[](Request& r) { r.max_tokens = 0; }, "max_tokens 0 is < 1"},
      {[](Request& r) { r.max_tokens = -1; }, "max_tokens -1 is < 1"},
      {[](Request& r) { r.sampling.phases[step::Phase::kReasoning].temperature = -0.5F; },
       "reasoning temperature -0.5 is not a finite number >= 0"},
      {[](Request& r) { r.sampling.phases[step::Phase::kAnswer].temperature = kInfinity; },
       "answer temperature inf is not a finite number >= 0"},
      {[](Request& r) { r.sampling.phases[step::Phase::kAnswer].temperature = kNan; },
       "answer temperature nan is not a finite number >= 0"},
      {[](Request& r) { r.sampling.phases[step::Phase::kReasoning].top_p = 0; },
       "reasoning top_p 0 is not in (0, 1]"},
      {[](Request& r) { r.sampling.phases[step::Phase::kReasoning].top_p = kNan; },
       "reasoning top_p nan is not in (0, 1]"},
      {[](Request& r) { r.sampling.phases[step::Phase::kReasoning].min_p = 1.5F; },
       "reasoning min_p 1.5 is not in [0, 1]"},
      {[](Request& r) { r.sampling.phases[step::Phase::kReasoning].repetition_penalty = 0; },
       "reasoning repetition_penalty 0 is not in (0, 2]"},
      {[](Request& r) { r.sampling.phases[step::Phase::kAnswer].repetition_penalty = kNan; },
       "answer repetition_penalty nan is not in (0, 2]"},
      {[](Request& r) { r.sampling.phases[step::Phase::kReasoning].presence_penalty = kInfinity; },
       "reasoning presence_penalty inf is not in [-2, 2]"},
      {[](Request& r) { r.sampling.phases[step::Phase::kAnswer].frequency_penalty = -2.5F; },
       "answer frequency_penalty -2.5 is not in [-2, 2]"},
      {[](Request& r) {
         r.logit_bias[step::Phase::kReasoning] = {{kVocab, 1}};
       },
       "reasoning logit bias's id 1000 is not in the vocabulary of 1000, or does not ascend"},
      {[](Request& r) {
         r.logit_bias[step::Phase::kAnswer] = {{7, 1}, {7, 2}};
       },
       "answer logit bias's id 7 is not in the vocabulary of 1000, or does not ascend"},
      {[](Request& r) {
         r.logit_bias[step::Phase::kAnswer] = {{7, kNan}};
       },
       "answer logit bias nan of id 7 is not in [-100, 100]"},
      {[](Request& r) { r.logit_bias[step::Phase::kAnswer].resize(1025); },
       "answer logit biases are 1025, more than 1024"},
      {[](Request& r) { r.alternatives = 1; }, "alternatives need logprobs"},
      {[](Request& r) { r.alternatives = -1; }, "alternatives -1 are not in [0, 20]"},
      {[](Request& r) { r.alternatives = 21; }, "alternatives 21 are not in [0, 20]"},
      {[](Request& r) { r.sampling.phases[step::Phase::kReasoning].min_p = kNan; },
       "reasoning min_p nan is not in [0, 1]"},
      {[](Request& r) { r.sampling.phases[step::Phase::kReasoning].top_k = -1; },
       "reasoning top_k -1 is < 0"},
      {[](Request& r) {
         r.stop_ids[step::Phase::kReasoning] = {0, -1};
       },
       "reasoning stop id -1 is not in the vocabulary of 1000"},
      {[](Request& r) { r.stop_ids[step::Phase::kAnswer] = {kVocab}; },
       "answer stop id 1000 is not in the vocabulary of 1000"},
      {[](Request& r) { r.stop_ids[step::Phase::kAnswer].assign(17, 0); },
       "answer stop ids are 17, more than 16"},
      {[](Request& r) { r.sampling.think_end_id = kVocab; },
       "think-end id 1000 is not in the vocabulary of 1000"},
  };
  for (const auto& [spoil, message] : cases) {
    Request request = MakeRequest(1, 10, 20);
    spoil(request);
    EXPECT_EQ(Refusal(request, MakeLimits(1)), message);
  }
}

TEST(CheckRequest, TakesTheEndsOfEachRange) {
  Request request = MakeRequest(1, 10, 1);
  request.sampling.phases[step::Phase::kReasoning] = {.temperature = 0,
                                                      .top_p = 1,
                                                      .min_p = 1,
                                                      .top_k = 0,
                                                      .repetition_penalty = 2,
                                                      .presence_penalty = -2,
                                                      .frequency_penalty = 2};
  request.logit_bias[step::Phase::kReasoning] = {{0, -100}, {kVocab - 1, 100}};
  request.sampling.think_end_id = -1;
  request.stop_ids = {{std::vector<std::int32_t>(16, 0), {kVocab - 1}}};
  request.logprobs = true;
  request.alternatives = 20;
  request.prompt_ids[0] = 0;
  request.prompt_ids[1] = kVocab - 1;
  EXPECT_TRUE(CheckRequest(request, MakeLimits(1)).ok());
}

}  // namespace
}  // namespace thinkwire::worker::engine
