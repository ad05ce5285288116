#pragma once

#include <cstdint>

#include "worker/grammar/expressions.h"

namespace thinkwire::worker::grammar {

// The integers that answers can have: 18 digits, as every reader of JSON takes them exactly but
// those that know floating point alone.
inline constexpr std::int64_t kMaxAnswerInteger = 999'999'999'999'999'999;

// The decimal spellings of first..last, without leading zeros, `-0` or an exponent. Nothing where
// first > last. REQUIRES: both within +-kMaxAnswerInteger
Expr IntegerRange(std::int64_t first, std::int64_t last, Expressions& expressions);

}  // namespace thinkwire::worker::grammar
