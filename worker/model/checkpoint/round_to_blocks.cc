#include "worker/model/checkpoint/round_to_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/check.h"
#include "worker/kernels/convert.h"
#include "worker/model/checkpoint/round_to_nearest.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

constexpr std::size_t kSuper = 256;      // weights of a K-quant's block
constexpr float kLeastUnit = 0x1p-100F;  // of what is divided by; far below any f16

template <class T>
void Store(T value, std::byte* to) {
  std::memcpy(to, &value, sizeof(T));
}

void StoreByte(int value, std::byte* to) { *to = static_cast<std::byte>(value & 0xFF); }

float MostOf(std::span<const float> x) {
  float most = 0;
  for (const float weight : x) most = std::max(most, std::fabs(weight));
  return most;
}

// The nearest whole number, ties to even, of one below 2^22; what is beyond stays beyond.
float Nearest(float x) {
  constexpr float kBig = 0x1.8p23F;
  return std::fabs(x) < 0x1p22F ? x + kBig - kBig : x;
}

float Clamped(float x, float least, float most) { return std::clamp(Nearest(x), least, most); }

void RoundQ8(std::span<const float> x, std::byte* to) {
  const float d = MostOf(x) / 127;
  const float inverse = d > kLeastUnit ? 1 / d : 0;
  Store(F16FromF32(d), to);
  for (std::size_t i = 0; i < x.size(); ++i) {
    StoreByte(static_cast<int>(std::round(x[i] * inverse)), to + 2 + i);
  }
}

// Sixteen weights of Q6_K: weight i is near s * q[i], q from -32 to 31.
constexpr float kLeastQ6 = -32;
constexpr float kMostQ6 = 31;
constexpr float kMostScaleQ6 = 127;  // eight bits, of which -128 is not used
using Sixteen = std::span<const float, 16>;

// The scale by least squares of the q that 1 / inverse rounds to, and what it spares of the sum of
// squares.
struct Fitted {
  float scale = 0;
  float spared = 0;
};
Fitted FitQ6(Sixteen x, float inverse) {
  float xq = 0;
  float qq = 0;
  for (const float weight : x) {
    const float q = Clamped(weight * inverse, kLeastQ6, kMostQ6);
    xq += weight * q;
    qq += q * q;
  }
  return qq > 0 ? Fitted{xq / qq, xq * xq / qq} : Fitted();
}

float ScaleQ6(Sixteen x) {
  const float most = MostOf(x);
  Fitted best;
  if (most < kLeastUnit) return 0;
  for (int quarter = -4; quarter <= 4; ++quarter) {
    const float steps = 32 + 0.25F * static_cast<float>(quarter);
    for (const float inverse : {steps / most, -steps / most}) {
      const Fitted fitted = FitQ6(x, inverse);
      if (fitted.spared > best.spared) best = fitted;
    }
  }
  return best.scale;
}

float LossQ6(Sixteen x, float scale) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  float loss = 0;
  for (const float weight : x) {
    const float off = Clamped(weight * inverse, kLeastQ6, kMostQ6) * scale - weight;
    loss += off * off;
  }
  return loss;
}

// The whole number of `d` near `scale` that loses least.
int ScaleBitsQ6(Sixteen x, float scale, float d) {
  if (d == 0) return 0;
  const float near = Clamped(scale / d, -kMostScaleQ6, kMostScaleQ6);
  float best = near;
  float best_loss = LossQ6(x, near * d);
  for (const float other : {near - 1, near + 1}) {
    if (std::fabs(other) > kMostScaleQ6) continue;
    const float loss = LossQ6(x, other * d);
    if (loss >= best_loss) continue;
    best = other;
    best_loss = loss;
  }
  return static_cast<int>(best);
}

// 128 B of nibbles, 64 B of upper 2 bits, 16 B of scales, d.
void StoreQ6(const std::array<std::uint8_t, kSuper>& q, std::byte* to) {
  for (std::size_t i = 0; i < kSuper / 2; ++i) {
    const std::size_t low = i / 64 * 128 + i % 64;
    StoreByte((q[low] & 0xF) | (q[low + 64] & 0xF) << 4, to + i);
  }
  for (std::size_t i = 0; i < kSuper / 4; ++i) {
    const std::uint8_t* const first = q.data() + i / 32 * 128 + i % 32;
    StoreByte(first[0] >> 4 | first[32] >> 4 << 2 | first[64] >> 4 << 4 | first[96] >> 4 << 6,
              to + 128 + i);
  }
}

void RoundQ6K(std::span<const float> x, std::byte* to) {
  std::array<float, 16> scales{};
  for (std::size_t g = 0; g < 16; ++g) scales[g] = ScaleQ6(x.subspan(16 * g).first<16>());
  const std::uint16_t half = F16FromF32(MostOf(scales) / kMostScaleQ6);
  const float d = kernels::F32FromF16(half);
  std::array<std::uint8_t, kSuper> q{};
  for (std::size_t g = 0; g < 16; ++g) {
    const auto weights = x.subspan(16 * g).first<16>();
    const int bits = ScaleBitsQ6(weights, scales[g], d);
    const float scale = d * static_cast<float>(bits);
    const float inverse = scale != 0 ? 1 / scale : 0;
    for (std::size_t i = 0; i < 16; ++i) {
      const float number = Clamped(weights[i] * inverse, kLeastQ6, kMostQ6);
      q[16 * g + i] = static_cast<std::uint8_t>(number - kLeastQ6);
    }
    StoreByte(bits, to + 192 + g);
  }
  StoreQ6(q, to);
  Store(half, to + 208);
}

// 32 weights of Q4_K: weight i is near scale * q[i] - min, q from 0 to 15, both at least 0.
constexpr float kMostQ4 = 15;
constexpr float kMostBitsQ4 = 63;  // of scales and mins
using ThirtyTwo = std::span<const float, 32>;
struct Line {
  float scale = 0;
  float min = 0;
};

float QuotientQ4(float weight, const Line& line, float inverse) {
  return Clamped((weight + line.min) * inverse, 0, kMostQ4);
}

float LossQ4(ThirtyTwo x, const Line& line) {
  const float inverse = line.scale > 0 ? 1 / line.scale : 0;
  float loss = 0;
  for (const float weight : x) {
    const float off = QuotientQ4(weight, line, inverse) * line.scale - line.min - weight;
    loss += off * off;
  }
  return loss;
}

// The line by least squares through the q that `line` rounds to.
Line FitQ4(ThirtyTwo x, const Line& line) {
  const float inverse = 1 / line.scale;
  float sum_x = 0;
  float sum_q = 0;
  float sum_xq = 0;
  float sum_qq = 0;
  for (const float weight : x) {
    const float q = QuotientQ4(weight, line, inverse);
    sum_x += weight;
    sum_q += q;
    sum_xq += weight * q;
    sum_qq += q * q;
  }
  const auto n = static_cast<float>(x.size());
  const float determinant = n * sum_qq - sum_q * sum_q;
  if (determinant <= 0) return line;
  const Line fitted = {(n * sum_xq - sum_x * sum_q) / determinant,
                       -(sum_qq * sum_x - sum_q * sum_xq) / determinant};
  if (fitted.min >= 0) return fitted;
  return {sum_xq / sum_qq, 0};
}

Line LineQ4(ThirtyTwo x) {
  const auto [least, most] = std::ranges::minmax(x);
  const float min = std::max(-least, 0.0F);
  const float range = std::max(most, 0.0F) + min;
  Line best = {0, min};
  float best_loss = HUGE_VALF;
  if (range < kLeastUnit) return {};
  for (int quarter = -8; quarter <= 8; ++quarter) {
    const float steps = kMostQ4 + 0.25F * static_cast<float>(quarter);
    const Line fitted = FitQ4(x, {range / steps, min});
    const float loss = LossQ4(x, fitted);
    if (fitted.scale < 0 || !(loss < best_loss)) continue;  // or is beyond floats
    best_loss = loss;
    best = fitted;
  }
  return best;
}

// The bits of a scale and a min that lose least near a line.
struct BitsQ4 {
  int scale = 0;
  int min = 0;
};
BitsQ4 LineBitsQ4(ThirtyTwo x, const Line& line, const Line& units) {
  const float scale = units.scale > 0 ? Clamped(line.scale / units.scale, 0, kMostBitsQ4) : 0;
  const float min = units.min > 0 ? Clamped(line.min / units.min, 0, kMostBitsQ4) : 0;
  BitsQ4 best;
  float best_loss = HUGE_VALF;
  for (const float s : {scale, scale - 1, scale + 1}) {
    for (const float m : {min, min - 1, min + 1}) {
      if (std::min(s, m) < 0 || std::max(s, m) > kMostBitsQ4) continue;
      const float loss = LossQ4(x, {s * units.scale, m * units.min});
      if (loss >= best_loss) continue;
      best_loss = loss;
      best = {static_cast<int>(s), static_cast<int>(m)};
    }
  }
  return best;
}

// What ReadSixBits of kernels/blocks_k.h reads.
void StoreSixBits(const std::array<BitsQ4, 8>& bits, std::byte* to) {
  for (std::size_t i = 0; i < 4; ++i) {
    const BitsQ4& low = bits[i];
    const BitsQ4& high = bits[i + 4];
    StoreByte(low.scale | high.scale >> 4 << 6, to + i);
    StoreByte(low.min | high.min >> 4 << 6, to + i + 4);
    StoreByte((high.scale & 0xF) | (high.min & 0xF) << 4, to + i + 8);
  }
}

std::array<BitsQ4, 8> SettleQ4(std::span<const float> x, std::byte* to, Line& units) {
  std::array<Line, 8> lines{};
  Line most;
  for (std::size_t g = 0; g < 8; ++g) {
    lines[g] = LineQ4(x.subspan(32 * g).first<32>());
    most = {std::max(most.scale, lines[g].scale), std::max(most.min, lines[g].min)};
  }
  const std::uint16_t d = F16FromF32(most.scale / kMostBitsQ4);
  const std::uint16_t dmin = F16FromF32(most.min / kMostBitsQ4);
  Store(d, to);
  Store(dmin, to + 2);
  units = {kernels::F32FromF16(d), kernels::F32FromF16(dmin)};
  std::array<BitsQ4, 8> bits{};
  for (std::size_t g = 0; g < 8; ++g) {
    bits[g] = LineBitsQ4(x.subspan(32 * g).first<32>(), lines[g], units);
  }
  return bits;
}

void RoundQ4K(std::span<const float> x, std::byte* to) {
  Line units;
  const std::array<BitsQ4, 8> bits = SettleQ4(x, to, units);
  StoreSixBits(bits, to + 4);
  std::array<int, kSuper> q{};
  for (std::size_t i = 0; i < kSuper; ++i) {
    const BitsQ4& own = bits[i / 32];
    const Line line = {static_cast<float>(own.scale) * units.scale,
                       static_cast<float>(own.min) * units.min};
    q[i] = static_cast<int>(QuotientQ4(x[i], line, line.scale > 0 ? 1 / line.scale : 0));
  }
  for (std::size_t i = 0; i < kSuper / 2; ++i) {
    const std::size_t low = i / 32 * 64 + i % 32;
    StoreByte(q[low] | q[low + 32] << 4, to + 16 + i);
  }
}

void RoundBlock(Encoding encoding, std::span<const float> x, std::byte* to) {
  switch (encoding) {
    case Encoding::kF32:
      return Store(x.front(), to);
    case Encoding::kBf16:
      return Store(kernels::Bf16FromF32(x.front()), to);
    case Encoding::kQ8_0:
      return RoundQ8(x, to);
    case Encoding::kQ4K:
      return RoundQ4K(x, to);
    case Encoding::kQ6K:
      return RoundQ6K(x, to);
    default:
      CHECK(false, "an encoding that is written");
  }
}

}  // namespace

void RoundRow(Encoding encoding, std::span<const float> row, std::byte* to) {
  const kernels::BlockShape shape = kernels::BlockOf(encoding);
  const auto elements = static_cast<std::size_t>(shape.elements);
  CHECK(row.size() % elements == 0, "a row of whole blocks");
  for (std::size_t at = 0; at < row.size(); at += elements, to += shape.bytes) {
    RoundBlock(encoding, row.subspan(at, elements), to);
  }
}

}  // namespace thinkwire::worker::model
