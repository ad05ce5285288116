#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {

void CpuBackend::LmHead(const Tensor& x, const LinearWeight& weight, const Tensor& logits) {
  const CpuLinearWeight& w = CpuLinearWeight::From(weight);
  Check(w.layout() == LinearLayout::kPlain && logits.rank == 2 && logits.dtype == DType::kF32 &&
            logits.dim(0) == x.dim(0) && logits.dim(1) == w.out_features(),
        "logits are f32 [L, V] of a plain weight");
  ApplyRows(x, w, logits.as<float>());
}

}  // namespace thinkwire::worker::kernels
