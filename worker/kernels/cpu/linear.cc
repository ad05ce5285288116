#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/linear_loop.h"
#include "worker/kernels/e4m3.h"

// out = x W^T. Each output is one canonical dot product (row_kernels_impl.h).
namespace thinkwire::worker::kernels {
namespace {

struct Baseline {};  // the instruction set that every machine has

// With m the greatest magnitude, at least 2^-100: float(e4m3(x * (448 / m))) * (m / 448). A row
// with an infinity or a NaN has no other numbers afterwards.
void RoundRow(const float* x, std::int64_t in, float* rounded) {
  constexpr float kMostE4m3 = 448.0F;
  float most = 0x1p-100F;
  bool is_finite = true;
  for (std::int64_t c = 0; c < in; ++c) {
    most = std::max(most, std::abs(x[c]));
    is_finite &= std::isfinite(x[c]);
  }
  const float scale = is_finite ? most / kMostE4m3 : std::numeric_limits<float>::quiet_NaN();
  const float inverse = kMostE4m3 / most;
  for (std::int64_t c = 0; c < in; ++c) {
    rounded[c] = FloatFromE4m3<Baseline>(E4m3FromFloat<Baseline>(x[c] * inverse)) * scale;
  }
}

}  // namespace

CpuBackend::PaddedRows CpuBackend::Pad(const Tensor& x, const CpuLinearWeight& weight) {
  Check(x.rank >= 2 && x.dtype == DType::kF32, "a linear's input is f32 [T, in]");
  const std::int64_t in = weight.in_features();
  const std::int64_t tokens = x.dim(0);
  Check(x.size() == tokens * in, "a linear's input is in_features wide");
  const std::int64_t stride = weight.depth_blocks() * kPanelDepth;
  if (weight.rounds_inputs()) return {Round(x), in};
  if (!weight.order().empty()) return {Gather(x, weight.order()), in};
  if (stride == in) return {x.as<float>(), in};
  padded_.assign(static_cast<std::size_t>(tokens * stride), 0.0F);
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::memcpy(padded_.data() + t * stride, x.as<float>() + t * in,
                static_cast<std::size_t>(in) * sizeof(float));
  }
  return {padded_.data(), stride};
}

const float* CpuBackend::Gather(const Tensor& x, const std::vector<std::int32_t>& order) {
  const auto in = static_cast<std::int64_t>(order.size());
  padded_.resize(static_cast<std::size_t>(x.dim(0) * in));
  pool_.For(x.dim(0), 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* const from = x.as<float>() + t * in;
      float* const to = padded_.data() + t * in;
      for (std::int64_t c = 0; c < in; ++c) to[c] = from[order[static_cast<std::size_t>(c)]];
    }
  });
  return padded_.data();
}

const float* CpuBackend::Round(const Tensor& x) {
  const std::int64_t in = x.size() / x.dim(0);
  padded_.resize(static_cast<std::size_t>(x.size()));
  pool_.For(x.dim(0), 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      RoundRow(x.as<float>() + t * in, in, padded_.data() + t * in);
    }
  });
  return padded_.data();
}

void CpuBackend::ApplyRows(const Tensor& x, const CpuLinearWeight& weight, float* out) {
  const std::int64_t width = weight.out_features();
  const PaddedRows padded = Pad(x, weight);
  ForEachLinearUnit(pool_, rows_, padded.data, padded.stride, x.dim(0), weight, 1, unpacked_,
                    [&](std::int64_t panel, std::int64_t first, int tokens, const float* sums) {
                      const std::int64_t row = panel * kPanelRows;
                      const int n =
                          static_cast<int>(std::min<std::int64_t>(kPanelRows, width - row));
                      const float* bias = weight.bias(panel);
                      for (int t = 0; t < tokens; ++t) {
                        float* to = out + (first + t) * width + row;
                        for (int r = 0; r < n; ++r) {
                          to[r] = sums[t * kPanelRows + r] + (bias == nullptr ? 0.0F : bias[r]);
                        }
                      }
                    });
}

void CpuBackend::Linear(const Tensor& x, const LinearWeight& weight, const Tensor& out) {
  const CpuLinearWeight& w = CpuLinearWeight::From(weight);
  Check(w.layout() == LinearLayout::kPlain && out.dtype == DType::kF32 &&
            out.size() == x.dim(0) * w.out_features(),
        "a linear's output is f32 [T, out] of a plain weight");
  ApplyRows(x, w, out.as<float>());
}

}  // namespace thinkwire::worker::kernels
