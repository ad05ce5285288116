#include "worker/model/layers/dense_ffn.h"

namespace thinkwire::worker::model {

DenseFfn::DenseFfn(const PartPlan& part, const PartPlace& place)
    : backend_(place.load.backend),
      gate_up_(LoadLinear(part.weights[0], place.load)),
      down_(LoadLinear(part.weights[1], place.load)),
      gated_(place.scratch.Get("gated", down_->in_features())) {}

void DenseFfn::Run(const kernels::Tensor& x, const kernels::BatchView& /*batch*/,
                   const kernels::KvLayer& /*kv*/, const kernels::Tensor& partial) {
  const kernels::Tensor gated = gated_.Rows(x.dim(0));
  backend_.GateUpSwiGlu(x, *gate_up_, gated);
  backend_.Linear(gated, *down_, partial);
}

std::int64_t DenseFfn::bytes() const {
  return static_cast<std::int64_t>(gate_up_->bytes() + down_->bytes());
}

}  // namespace thinkwire::worker::model
