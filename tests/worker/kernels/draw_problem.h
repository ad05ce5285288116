#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "worker/kernels/draw.h"

// Logits of many kinds and rows that draw from them with every combination of parameters, for the
// ops that turn logits into tokens.
namespace thinkwire::worker::kernels {

struct LogitsKind {
  const char* name;
  // Of column i of n.
  float (*logit)(std::mt19937& random, std::int64_t i, std::int64_t n);
};

std::span<const LogitsKind> LogitsKinds();

// Rows of logits and what each draws by.
struct DrawProblem {
  std::int32_t rows = 0;
  std::int32_t vocab_size = 0;
  std::int64_t width = 0;
  std::vector<float> logits;
  std::vector<std::int32_t> slots;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> input_ids;
  std::vector<step::Phase> phases;
  std::vector<step::SamplingParams> sampling;  // by slot: two more than rows
};

// The combinations of parameters that rows go through.
std::size_t NumCombinations(std::int32_t vocab_size);

// Row l draws by combination first + l in the phase that it is in, and by another in the other.
// Every 29th row is padding, and columns from vocab_size on hold what must not be read.
DrawProblem MakeDrawProblem(const LogitsKind& kind, std::int32_t rows, std::int32_t vocab_size,
                            std::int64_t width, std::uint32_t seed, std::size_t first = 0);

}  // namespace thinkwire::worker::kernels
