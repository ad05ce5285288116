#include "worker/model/rank_group.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <latch>
#include <utility>

#include "common/check.h"
#include "worker/model/count_rank.h"
#include "worker/model/layers/rank_shape.h"
#include "worker/model/layers/rope.h"
#include "worker/model/rank.h"

namespace thinkwire::worker::model {

struct RankGroup::Loading {
  const WeightSource& source;
  const std::vector<float> rope;
  std::latch loaded;
  std::latch warm;  // nothing is allocated or loaded any more: ranks may wait for each other
  std::latch ready;
  std::atomic<std::int64_t> weight_bytes = 0;
  std::atomic<std::int64_t> weight_bytes_per_token = 0;
};

namespace {

// What the rank will ask a GPU for, in one.
void TakeAhead(const RankGroup::Parts& parts, const RankShape& shape, kernels::Backend& backend) {
  const kernels::Capabilities& device = backend.capabilities();
  if (device.kind == kernels::DeviceKind::kCpu) return;
  const RankMemory memory = CountRank(parts.plan, shape, parts.limits, device);
  backend.TakeAhead(static_cast<std::size_t>(memory.ahead));
}

}  // namespace

RankGroup::RankGroup(Parts parts, const WeightSource& source, const Devices& devices,
                     PlanChannel& plans)
    : parts_(std::move(parts)),
      devices_(devices),
      plans_(plans),
      heartbeats_(devices.backends.size()) {
  CHECK(!devices.backends.empty() && devices.communicators.size() == devices.backends.size(),
        "a rank at least, and one communicator a rank");
  const auto ranks = static_cast<std::ptrdiff_t>(devices.backends.size());
  Loading loading{source, RopeTable(parts_.plan.config, parts_.limits.max_model_len),
                  std::latch(ranks), std::latch(ranks), std::latch(ranks)};
  for (std::size_t i = 0; i < devices.backends.size(); ++i) {
    threads_.emplace_back([this, i, &loading] { Run(i, loading); });
  }
  loading.loaded.wait();
  const auto loaded = std::chrono::steady_clock::now();
  loading.ready.wait();
  const std::chrono::duration<double> warm_up = std::chrono::steady_clock::now() - loaded;
  loaded_ = {.weight_bytes = loading.weight_bytes,
             .weight_bytes_per_token = loading.weight_bytes_per_token,
             .warm_up_seconds = warm_up.count()};
  group_watch_ = std::make_unique<parallel::GroupWatch>(devices.communicators);
}

RankGroup::~RankGroup() {
  group_watch_.reset();
  for (std::thread& thread : threads_) thread.join();
}

void RankGroup::Run(std::size_t index, Loading& loading) {
  kernels::Backend& backend = *devices_.backends[index];
  parallel::Communicator& communicator = *devices_.communicators[index];
  const int number = communicator.rank();
  const RankShape shape = ShapeOfRank(parts_.plan, number, communicator.size());
  TakeAhead(parts_, shape, backend);
  Rank rank(parts_.plan, shape, parts_.limits, loading.source, loading.rope, backend, communicator);
  loading.weight_bytes += rank.model().bytes();
  loading.weight_bytes_per_token += rank.model().bytes_per_token();
  heartbeats_[index] = &rank.heartbeat();
  if (number == 0) {
    results_ = std::make_unique<ResultQueue>(parts_.limits, backend);
    if (parts_.stamp_steps) {
      stamps_ = std::make_unique<StepStamps>(parts_.limits.max_in_flight, backend);
    }
  }
  loading.loaded.arrive_and_wait();
  rank.WarmUp();
  loading.warm.arrive_and_wait();
  rank.RecordDecodes();
  loading.ready.count_down();
  while (const std::shared_ptr<const step::Plan> plan = plans_.Receive(number)) {
    rank.Step(*plan, number == 0 ? stamps_.get() : nullptr);
    if (number == 0) results_->Push(plan->step, rank.drawn());
  }
}

std::vector<step::RankBeat> RankGroup::beats() const {
  std::vector<step::RankBeat> beats;
  for (const Heartbeat* heartbeat : heartbeats_) beats.push_back(heartbeat->Read());
  return beats;
}

}  // namespace thinkwire::worker::model
