#include "worker/model/checkpoint/random_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "worker/model/checkpoint/hash.h"
#include "worker/model/checkpoint/random_blocks.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int64_t kAloneElements = 1 << 20;

// Elements are centre + half_width * u, u uniform in [-1, 1).
struct Noise {
  float centre = 0;
  float half_width = 0;
};

Noise NoiseFor(const TensorSpec& spec) {
  const float unit_variance = std::sqrt(3.0F);
  if (absl::EndsWith(spec.name, "norm.weight")) return {1.0F, 0.1F};
  if (spec.is_vector) return {0.0F, 0.1F};
  if (spec.name == kEmbeddingName) return {0.0F, unit_variance};
  return {0.0F, unit_variance / std::sqrt(static_cast<float>(spec.cols))};
}

// Round to nearest, ties to even. REQUIRES: finite.
std::uint16_t ToBf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

void FillBf16(std::uint64_t start, const Noise& noise, std::int64_t cols, char* to) {
  auto* const out = reinterpret_cast<std::uint16_t*>(to);
  for (std::int64_t c = 0; c < cols; ++c) {
    const auto bits = static_cast<std::uint32_t>(Mix(start + static_cast<std::uint64_t>(c)));
    const float u = static_cast<float>(static_cast<std::int32_t>(bits)) * 0x1p-31F;
    out[c] = ToBf16(noise.centre + noise.half_width * u);
  }
}

// On all cores, as the largest models have some 10^11 elements; not for what one does at once.
template <class Fill>
void ForEachRow(const Region& region, const Fill& fill) {
  const auto fill_rows = [&fill](std::int64_t first, std::int64_t end) {
    for (std::int64_t row = first; row < end; ++row) fill(row);
  };
  const std::int64_t cores = std::max(1U, std::thread::hardware_concurrency());
  const std::int64_t share =
      region.rows * region.cols < kAloneElements ? region.rows : (region.rows + cores - 1) / cores;
  std::vector<std::thread> others;
  for (std::int64_t row = share; row < region.rows; row += share) {
    others.emplace_back(fill_rows, row, std::min(row + share, region.rows));
  }
  fill_rows(0, std::min(share, region.rows));
  for (std::thread& thread : others) thread.join();
}

}  // namespace

HostSlice RandomWeights::Slice(const TensorSpec& spec, const Region& region) const {
  const bool is_packed = CanDrawPacked(spec.encoding);
  const kernels::Encoding encoding = is_packed ? spec.encoding : kernels::Encoding::kBf16;
  CheckRegion(spec, region, encoding);
  const std::uint64_t base = HashBytes(seed_, spec.name);
  const Noise noise = NoiseFor(spec);
  HostSlice host;
  host.owned.resize(
      static_cast<std::size_t>(kernels::BytesOf(encoding, region.rows * region.cols)));
  host.slice = {.data = host.owned.data(),
                .encoding = encoding,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = region.cols};
  ForEachRow(region, [&](std::int64_t row) {
    const std::uint64_t start =
        base + static_cast<std::uint64_t>((region.first_row + row) * spec.cols + region.first_col);
    auto* const to =
        reinterpret_cast<char*>(host.owned.data()) + kernels::BytesOf(encoding, row * region.cols);
    if (is_packed) {
      DrawBlocks(spec.encoding, start, noise.half_width / std::sqrt(3.0F), region.cols, to);
    } else {
      FillBf16(start, noise, region.cols, to);
    }
  });
  return host;
}

std::uint64_t RandomWeights::identity() const { return HashBytes(seed_, "random weights 1"); }

}  // namespace thinkwire::worker::model
