#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

// A block of Encoding::kInt4, 128 columns of a row: two columns a byte, the even one's low; then a
// word, in the host's order: the upper 19 bits of the scale as f32, in which every f16 and bf16 is
// exact, and in its low byte the zero point. The weight is bf16(float(q - z) * scale), rounded
// once, as AWQ and its kin say with a scale of their own for so many columns.
namespace thinkwire::worker::kernels {

inline constexpr int kInt4Columns = 128;
inline constexpr int kInt4PackedBytes = kInt4Columns / 2 + 4;  // of a row's block
inline constexpr std::uint32_t kInt4ScaleBits = 0xFFFFE000U;
inline constexpr std::uint32_t kInt4ZeroBits = 0xFFU;

// REQUIRES: 0 <= zero <= 16, and scale has no more than f16's or bf16's bits.
inline std::uint32_t Int4ScaleWord(float scale, std::uint32_t zero) {
  return (std::bit_cast<std::uint32_t>(scale) & kInt4ScaleBits) | zero;
}

class Int4Block {
 public:
  // Block `at` of the row that begins at `row`.
  Int4Block(const char* row, std::int64_t at) : data_(row + at * kInt4PackedBytes) {}

  std::uint32_t value(std::int64_t column) const {
    const auto pair = static_cast<std::uint8_t>(data_[column / 2]);
    return pair >> (column % 2 * 4) & 0xFU;
  }
  std::uint32_t scale_word() const {
    std::uint32_t word;
    std::memcpy(&word, data_ + kInt4Columns / 2, sizeof(word));
    return word;
  }
  // Exact in f32.
  float weight(std::int64_t column) const {
    const std::uint32_t word = scale_word();
    const auto steps =
        static_cast<std::int32_t>(value(column)) - static_cast<std::int32_t>(word & kInt4ZeroBits);
    return static_cast<float>(steps) * std::bit_cast<float>(word & kInt4ScaleBits);
  }

 private:
  const char* data_;
};

}  // namespace thinkwire::worker::kernels
