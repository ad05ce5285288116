#include "worker/model/layers/dense_ffn.h"

#include <span>

#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

std::vector<SwiGluWeights> LoadBlocks(const PartPlan& part, const LoadPlace& place) {
  CHECK(part.weights.size() == 2, "a SwiGLU block has two weights");
  std::vector<SwiGluWeights> blocks;
  for (const RankShape& shape : SummedShapes(place)) {
    blocks.push_back(LoadSwiGlu(std::span<const PlannedWeight, 2>(part.weights.data(), 2),
                                {shape, place.source, place.backend}));
  }
  return blocks;
}

}  // namespace

DenseFfn::DenseFfn(const PartPlan& part, const PartPlace& place)
    : backend_(place.load.backend),
      blocks_(LoadBlocks(part, place.load)),
      sum_(blocks_.size(), blocks_[0].down->out_features(), place.scratch),
      gated_(place.scratch.Get("gated", blocks_[0].down->in_features())) {}

void DenseFfn::Run(const kernels::Tensor& x, const kernels::BatchView& /*batch*/,
                   const kernels::KvLayer& /*kv*/, const kernels::Tensor& partial) {
  const kernels::Tensor gated = gated_.Rows(x.dim(0));
  sum_.Write(partial, [&](std::size_t i, const kernels::Tensor& to) {
    backend_.GateUpSwiGlu(x, *blocks_[i].gate_up, gated);
    backend_.Linear(gated, *blocks_[i].down, to);
  });
}

std::int64_t DenseFfn::bytes() const {
  std::int64_t bytes = 0;
  for (const SwiGluWeights& block : blocks_) bytes += block.bytes();
  return bytes;
}

}  // namespace thinkwire::worker::model
