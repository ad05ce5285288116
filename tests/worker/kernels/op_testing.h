#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {

// The one table of what an op may differ from its double-precision reference by, relative to the
// sum of the magnitudes that it adds up. Weights are rounded to bf16 before both.
struct Tolerance {
  static constexpr double kLinear = 2e-6;
  static constexpr double kNorm = 1e-6;
  static constexpr double kSwiGlu = 4e-6;
  static constexpr double kRotate = 4e-6;
  static constexpr double kAttention = 4e-6;
  static constexpr double kLogprob = 4e-6;
};

// What outputs hold before an op writes them: a NaN that no op computes.
inline constexpr std::uint32_t kPoison = 0x7FC0BEEFU;

// A tensor with its own memory.
template <class T>
struct Array {
  std::vector<T> values;
  Tensor tensor;

  Array(std::vector<std::int64_t> dims, DType dtype, std::vector<T> init = {}) {
    tensor.dtype = dtype;
    tensor.rank = static_cast<int>(dims.size());
    for (std::size_t i = 0; i < dims.size(); ++i) tensor.dims[i] = dims[i];
    values = std::move(init);
    if (values.empty()) {
      values.resize(static_cast<std::size_t>(tensor.size()));
      for (T& value : values) std::memcpy(&value, &kPoison, sizeof(T));
    }
    tensor.data = values.data();
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T& operator[](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }
  const T& operator[](std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }
};
using F32 = Array<float>;
using I32 = Array<std::int32_t>;

std::vector<float> RandomFloats(std::int64_t n, std::uint32_t seed, float scale = 1.0F);
// Values that bf16 holds exactly.
std::vector<float> RandomBf16Floats(std::int64_t n, std::uint32_t seed, float scale = 1.0F);
std::vector<std::uint16_t> ToBf16(const std::vector<float>& x);

inline WeightSlice SliceOf(const std::vector<float>& x, std::int64_t rows, std::int64_t cols) {
  return {
      .data = x.data(), .encoding = Encoding::kF32, .rows = rows, .cols = cols, .row_stride = cols};
}

// One of each instruction set that this machine has, with one to four threads.
struct BackendCase {
  Isa isa;
  int threads;
};
std::vector<BackendCase> BackendCases();
std::string NameOf(const BackendCase& c);

bool SameBits(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace thinkwire::worker::kernels
