#include "worker/model/checkpoint/random_blocks.h"

#include <cmath>
#include <cstring>

#include "common/check.h"
#include "worker/model/checkpoint/hash.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

// Bytes in which each value is as likely.
void DrawBytes(std::uint64_t start, std::int64_t bytes, char* to) {
  for (std::int64_t i = 0; i < bytes; i += 8) {
    const std::uint64_t values = Mix(start + static_cast<std::uint64_t>(2 * i));
    std::memcpy(to + i, &values, static_cast<std::size_t>(bytes - i < 8 ? bytes - i : 8));
  }
}

// The next f16 towards 0 of a positive number below 65,504.
std::uint16_t HalfOf(float x) {
  if (x < 0x1p-14F) return static_cast<std::uint16_t>(x * 0x1p24F);
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent);  // [0.5, 1)
  const int mantissa = static_cast<int>(fraction * 2048.0F);
  return static_cast<std::uint16_t>(mantissa + ((exponent + 13) << 10));
}

void StoreHalf(float x, char* to) {
  const std::uint16_t half = HalfOf(x);
  std::memcpy(to, &half, sizeof(half));
}

// Each of 16 values as often, zero points of 7 and 8, scales within a tenth of each other.
void DrawInt4(std::uint64_t start, float deviation, char* to) {
  constexpr float kDeviation = 4.637F;  // of value - zero point, the root of 21.5
  for (int i = 0; i < kernels::kInt4Columns / 16; ++i) {
    const std::uint64_t values = Mix(start + static_cast<std::uint64_t>(16 * i));
    std::memcpy(to + 8 * i, &values, sizeof(values));
  }
  const std::uint64_t bits = Mix(start + 1);
  const float spread = 1.0F + static_cast<float>(bits % 1024) / 10240.0F;
  const std::uint32_t word = kernels::Int4ScaleWord(deviation / kDeviation * spread,
                                                    7 + static_cast<std::uint32_t>(bits >> 63));
  std::memcpy(to + kernels::kInt4Columns / 2, &word, sizeof(word));
}

// q over all of i8.
void DrawQ8_0(std::uint64_t start, float deviation, char* to) {
  DrawBytes(start, 34, to);
  StoreHalf(deviation / 73.9F, to);
}

// sc, m and q over all that they can be, dmin 7.5 times d: the mean of q. sc q - 7.5 m deviates by
// the root of 36.5^2 4.61^2 of q and twice 18.5^2 7.5^2 of sc and m.
void DrawQ4K(std::uint64_t start, float deviation, char* to) {
  const float d = deviation / 258.0F;
  DrawBytes(start, 144, to);
  StoreHalf(d, to);
  StoreHalf(7.5F * d, to + 2);
}

// q over 6 bits and sc over all of i8: 18.5 times 73.9.
void DrawQ6K(std::uint64_t start, float deviation, char* to) {
  DrawBytes(start, 210, to);
  StoreHalf(deviation / 1367.0F, to + 208);
}

// Codes below 2 in magnitude, each as often: exponents 0 to 7 of either sign, the root of 0.358.
// All of a block have one scale, as all of 128 rows would in a checkpoint.
void DrawFp8(std::uint64_t start, float deviation, char* to) {
  constexpr float kDeviation = 0.598F;
  constexpr std::uint64_t kSmall = 0xBFBFBFBFBFBFBFBF;
  for (int i = 0; i < kernels::kFp8Columns; i += 8) {
    const std::uint64_t codes = Mix(start + static_cast<std::uint64_t>(i)) & kSmall;
    std::memcpy(to + i, &codes, sizeof(codes));
  }
  const float scale = deviation / kDeviation;
  std::memcpy(to + kernels::kFp8Columns, &scale, sizeof(scale));
}

void DrawBlock(Encoding encoding, std::uint64_t start, float deviation, char* to) {
  switch (encoding) {
    case Encoding::kInt4:
      return DrawInt4(start, deviation, to);
    case Encoding::kQ8_0:
      return DrawQ8_0(start, deviation, to);
    case Encoding::kQ4K:
      return DrawQ4K(start, deviation, to);
    case Encoding::kQ6K:
      return DrawQ6K(start, deviation, to);
    case Encoding::kFp8:
      return DrawFp8(start, deviation, to);
    default:
      CHECK(false, "an encoding that is drawn packed");
  }
}

}  // namespace

void DrawBlocks(Encoding encoding, std::uint64_t start, float deviation, std::int64_t cols,
                char* to) {
  const kernels::BlockShape block = kernels::BlockOf(encoding);
  for (std::int64_t c = 0; c < cols; c += block.elements, to += block.bytes) {
    DrawBlock(encoding, start + static_cast<std::uint64_t>(c), deviation, to);
  }
}

}  // namespace thinkwire::worker::model
