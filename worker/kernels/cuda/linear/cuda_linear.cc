#include "worker/kernels/cuda/linear/cuda_linear.h"

#include <type_traits>
#include <variant>

#include "worker/kernels/check.h"

namespace thinkwire::worker::kernels {

const CudaLinear& CudaLinear::From(const LinearWeight& weight) {
  Check(weight.device() == DeviceKind::kCuda, "a weight that a GPU's backend made");
  return static_cast<const CudaLinear&>(weight);
}

void CudaLinear::Run(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  Check(x.rank == 2 && x.dtype == DType::kBf16 && x.dim(1) == shape_.in, "x is bf16 [T, in]");
  std::visit(
      [&](const auto& to) {
        Check(to.kLayout == layout_, "a weight of the layout that the op takes");
        Check(to.Fits(x.dim(0), shape_.out),
              "the output is of the op's type and the product's size");
      },
      output);
  Multiply(x, output, stream);
}

std::optional<ResidualNorm> CudaLinear::TakeNorm(const Tensor& x, const LinearOutput& output,
                                                 OpStream& stream) {
  return std::visit(
      [&](const auto& to) -> std::optional<ResidualNorm> {
        if constexpr (std::remove_cvref_t<decltype(to)>::kFollowsNorm) {
          return stream.Take(x, to.target());
        } else {
          return {};
        }
      },
      output);
}

}  // namespace thinkwire::worker::kernels
