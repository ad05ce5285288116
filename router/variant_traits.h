#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "common/input_limits.h"
#include "router/task.h"

namespace thinkwire::router {

// A value for each task.
template <class T>
struct PerTask {
  std::array<T, std::size(kAllTasks)> values{};
  T& operator[](Task task) { return values[static_cast<std::size_t>(task)]; }
  const T& operator[](Task task) const { return values[static_cast<std::size_t>(task)]; }
};

// Two points of a distribution of lengths, in tokens: half of them are at most `p50`, nine of ten
// at most `p90`. 0 < p50 <= p90.
struct LengthQuantiles {
  double p50 = 0;
  double p90 = 0;
  bool operator==(const LengthQuantiles&) const = default;
};

// What a decision weighs of a variant.
struct VariantTraits {
  PerTask<double> quality{};  // [0, 1]; a share of solved problems, say
  // The most of prompt and output together that is sent there, if workers can hold it.
  std::int32_t context_tokens = kMaxModelLen;
  // Of a million tokens, prompt and output alike, in any unit; >= 0.
  double cost_per_million = 0;
  PerTask<LengthQuantiles> reasoning{};  // as expected until experience says better
};

// Those of the family's variants ("qwen-7b", "r1-671b"), and of any other name: a quality of 0.5,
// no cost, any context.
//
// Quality is pass@1 of DeepSeek's published evaluation (README.md of deepseek-ai/DeepSeek-R1,
// "Distilled Model Evaluation"; R1 itself from "DeepSeek-R1 Evaluation"), as a share: AIME 2024 for
// math, LiveCodeBench and Codeforces for code, GPQA Diamond for science. Of other tasks nothing is
// published: MATH-500, the easiest of the five, stands for extraction, and the mean of MATH-500 and
// GPQA for general questions and prose, where knowledge counts too.
// Context is max_position_embeddings of their config.json.
// Cost is the billions of parameters that a token reads: what its time is made of.
// Reasoning by difficulty: 100 tokens for extraction, 750 for general questions and prose, 3,000
// for code and science, 6,000 for math; nine of ten take less than 2.5 times that.
VariantTraits KnownTraits(std::string_view variant_name);

}  // namespace thinkwire::router
