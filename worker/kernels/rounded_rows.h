#pragma once

#include <cstdint>

namespace thinkwire::worker::kernels {

// Bytes of a GPU's memory that tokens take whose numbers are rounded to FP8 before a product: their
// codes [tokens, columns], then a scale in f32 of each. All products share it, so that the widest
// decides. Who counts memory without a GPU goes by it too.
constexpr std::int64_t RoundedBytes(std::int64_t tokens, std::int64_t columns) {
  return tokens * columns + tokens * 4;
}

}  // namespace thinkwire::worker::kernels
