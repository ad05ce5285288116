#include "worker/model/count_rank.h"

#include <memory>
#include <string>

#include "worker/model/checkpoint/weight_source.h"
#include "worker/model/counting_backend.h"
#include "worker/model/rank.h"
#include "worker/model/step/result_queue.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::model {
namespace {

// Weights of which the sizes are known and nothing else.
class SizesAlone final : public WeightSource {
 public:
  HostSlice Slice(const TensorSpec& spec, const Region& region) const override {
    HostSlice host;
    host.slice = {.encoding = spec.encoding,
                  .rows = region.rows,
                  .cols = region.cols,
                  .row_stride = region.cols};
    return host;
  }
  std::uint64_t identity() const override { return 0; }
  std::string stored_as() const override { return "sizes"; }
};

}  // namespace

RankMemory CountRank(const ModelPlan& plan, const RankShape& shape, const step::Limits& limits,
                     const kernels::Capabilities& device) {
  CountingBackend backend(device);
  parallel::SoloCommunicator communicator(backend);
  // As large as the table of rotations, and never read.
  const auto floats = static_cast<std::size_t>(limits.max_model_len * plan.config.head_dim);
  const auto rope = std::make_unique_for_overwrite<float[]>(floats);
  const Rank rank(plan, shape, limits, SizesAlone(), {rope.get(), floats}, backend, communicator);
  const ResultQueue results(limits, backend);
  const bool is_host = device.kind == kernels::DeviceKind::kCpu;
  const std::int64_t total = backend.device_bytes() + (is_host ? backend.host_bytes() : 0);
  const std::int64_t weights = rank.model().bytes();
  return {.weights = weights, .workspace = total - weights, .ahead = backend.ahead_bytes()};
}

}  // namespace thinkwire::worker::model
