#include <algorithm>
#include <cmath>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"

// out = (x * (1 / sqrt(sum of squares / E + eps))) * weight, each step rounded to f32; the sum is
// the canonical one of row_kernels_impl.h.
namespace thinkwire::worker::kernels {
namespace {

void NormRow(const RowKernels& rows, const float* x, const std::uint16_t* weight, float eps,
             std::int64_t width, float* out) {
  const float mean = rows.sum_squares(x, width) / static_cast<float>(width);
  rows.scale(x, 1.0F / std::sqrt(mean + eps), weight, out, width);
}

void CheckShapes(const Tensor& x, const Tensor& weight, const Tensor& out) {
  Check(x.rank == 2 && x.dtype == DType::kF32 && out.size() == x.size(), "x, out are f32 [T, E]");
  Check(weight.dtype == DType::kBf16 && weight.size() == x.dim(1), "the weight is bf16 [E]");
}

}  // namespace

void CpuBackend::RmsNorm(const Tensor& x, const Tensor& weight, float eps, const Tensor& out) {
  CheckShapes(x, weight, out);
  const std::int64_t width = x.dim(1);
  pool_.For(x.dim(0), 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      NormRow(rows_, x.as<float>() + t * width, weight.as<std::uint16_t>(), eps, width,
              out.as<float>() + t * width);
    }
  });
}

void CpuBackend::AddRmsNorm(const ResidualNorm& norm) {
  CheckShapes(norm.sum, norm.weight, norm.out);
  Check(norm.partial.size() == norm.sum.size() && norm.residual.size() == norm.sum.size(),
        "partial, residual are f32 [T, E]");
  const std::int64_t width = norm.sum.dim(1);
  pool_.For(norm.sum.dim(0), 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* residual = norm.residual.as<float>() + t * width;
      float* sum = norm.sum.as<float>() + t * width;
      if (sum != residual) std::copy_n(residual, width, sum);
      rows_.add(norm.partial.as<float>() + t * width, sum, width);
      NormRow(rows_, sum, norm.weight.as<std::uint16_t>(), norm.eps, width,
              norm.out.as<float>() + t * width);
    }
  });
}

}  // namespace thinkwire::worker::kernels
