#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {

void CpuBackend::LmHead(const Tensor& x, const LinearWeight& weight, const Tensor& logits) {
  const auto& w = static_cast<const CpuLinearWeight&>(weight);
  Check(logits.rank == 2 && logits.dtype == DType::kF32 && logits.dim(0) == x.dim(0) &&
            logits.dim(1) == w.out_features(),
        "logits are f32 [L, V]");
  ApplyPlain(x, w, logits.as<float>(), w.out_features());
}

}  // namespace thinkwire::worker::kernels
