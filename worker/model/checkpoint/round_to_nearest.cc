#include "worker/model/checkpoint/round_to_nearest.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "worker/kernels/blocks_fp8.h"
#include "worker/kernels/convert.h"

namespace thinkwire::worker::model {
namespace {

constexpr float kMostF16 = 65504;
constexpr float kLeastNormalF16 = 0x1p-14F;
constexpr float kMostE4m3 = 448;
constexpr float kMostInt4 = 15;
constexpr int kInt4Scales = 20;  // tried: the whole range, then 2 % less each time
constexpr int kE4m3Scales = 8;   // tried: what fills the range, then an eighth of an octave more

struct Host {};  // the instruction set that everything runs on

// The range as a scale's f16; what is too little for a normal one gets the least.
std::uint16_t ScaleOf(float range) {
  return F16FromF32(std::max(range / kMostInt4, kLeastNormalF16));
}

float Int4Of(float weight, float scale, float zero) {
  return std::clamp(std::nearbyint(weight / scale) + zero, 0.0F, kMostInt4);
}

double Int4Loss(std::span<const float> weights, float scale, float zero) {
  double loss = 0;
  for (const float weight : weights) {
    const float off = (Int4Of(weight, scale, zero) - zero) * scale - weight;
    loss += static_cast<double>(off) * off;
  }
  return loss;
}

// What E4m3FromF32 makes of x, |x| < 464, as a number: adding and taking away a power of two leaves
// of a float the four bits that e4m3 has, or fewer of what is less than its least normal number.
float NearestE4m3(float x) {
  constexpr std::uint32_t kExponent = 0x7F800000U;
  constexpr std::uint32_t kDroppedBits = 20U << 23;
  constexpr float kLeastNormal = 0x1p-6F;
  const float magnitude = std::fabs(x);
  const float power = std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) & kExponent);
  const float above = std::bit_cast<float>(
      std::bit_cast<std::uint32_t>(std::max(power, kLeastNormal)) + kDroppedBits);
  return std::copysign(magnitude + above - above, x);
}

// The squares are added up in the weights' order; what they are of is computed many at a time.
double E4m3Loss(std::span<const float> weights, float scale) {
  constexpr std::size_t kAtOnce = 256;
  std::array<float, kAtOnce> off;
  double loss = 0;
  for (std::size_t first = 0; first < weights.size(); first += kAtOnce) {
    const std::size_t count = std::min(kAtOnce, weights.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      const float weight = weights[first + i];
      off[i] = NearestE4m3(weight / scale) * scale - weight;
    }
    for (std::size_t i = 0; i < count; ++i) loss += static_cast<double>(off[i]) * off[i];
  }
  return loss;
}

}  // namespace

std::uint16_t F16FromF32(float x) {
  const auto sign = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16 & 0x8000U);
  const float magnitude = std::min(std::fabs(x), kMostF16);
  if (magnitude < kLeastNormalF16) {
    return sign | static_cast<std::uint16_t>(std::nearbyint(magnitude * 0x1p24F));
  }
  const auto bits = std::bit_cast<std::uint32_t>(magnitude);
  const std::uint32_t rounded = bits + 0xFFFU + (bits >> 13 & 1U);
  return sign | static_cast<std::uint16_t>((rounded >> 13) - (112U << 10));
}

std::uint8_t E4m3FromF32(float x) { return kernels::E4m3FromFloat<Host>(x); }

Int4Scale RoundToInt4(std::span<const float> weights, std::uint8_t* q) {
  const auto [least, most] = std::ranges::minmax(weights);
  const float low = std::min(least, 0.0F);
  const float high = std::max(most, 0.0F);
  Int4Scale best;
  double best_loss = HUGE_VAL;
  for (int i = 0; i < kInt4Scales && best_loss > 0; ++i) {
    const float share = 1 - 0.02F * static_cast<float>(i);
    const std::uint16_t scale = ScaleOf((high - low) * share);
    const float s = kernels::F32FromF16(scale);
    const float zero = std::clamp(std::nearbyint(-low * share / s), 0.0F, kMostInt4);
    const double loss = Int4Loss(weights, s, zero);
    if (loss >= best_loss) continue;
    best_loss = loss;
    best = {scale, static_cast<std::uint8_t>(zero)};
  }
  const float s = kernels::F32FromF16(best.scale);
  std::ranges::transform(weights, q, [&](float weight) {
    return static_cast<std::uint8_t>(Int4Of(weight, s, best.zero));
  });
  return best;
}

float RoundToE4m3(std::span<const float> weights, std::uint8_t* q) {
  float most = 0;
  for (const float weight : weights) most = std::max(most, std::fabs(weight));
  // Below this a scale would be no normal float.
  const float tight = std::max(most / kMostE4m3, 0x1p-100F);
  float best = tight;
  double best_loss = E4m3Loss(weights, best);
  for (int i = 1; i < kE4m3Scales; ++i) {
    const float scale = tight * std::exp2(static_cast<float>(i) / kE4m3Scales);
    const double loss = E4m3Loss(weights, scale);
    if (loss >= best_loss) continue;
    best_loss = loss;
    best = scale;
  }
  std::ranges::transform(weights, q, [&](float weight) { return E4m3FromF32(weight / best); });
  return best;
}

}  // namespace thinkwire::worker::model
