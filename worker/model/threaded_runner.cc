#include "worker/model/threaded_runner.h"

#include <chrono>
#include <latch>
#include <utility>

#include "common/check.h"
#include "worker/model/layers/rank_shape.h"
#include "worker/model/layers/rope.h"
#include "worker/model/rank.h"

namespace thinkwire::worker::model {

struct ThreadedRunner::Loading {
  const WeightSource& source;
  const std::vector<float> rope;
  std::latch loaded;
  std::latch warm;  // nothing is allocated or loaded any more: ranks may wait for each other
  std::latch ready;
};

ThreadedRunner::ThreadedRunner(Parts parts, const WeightSource& source)
    : parts_(std::move(parts)),
      heartbeats_(static_cast<std::size_t>(num_ranks())),
      channel_(num_ranks(), parts_.limits.max_in_flight) {
  CHECK(parts_.devices.communicators.size() == parts_.devices.backends.size(),
        "one communicator a rank");
  Loading loading{source, RopeTable(parts_.plan.config, parts_.limits.max_model_len),
                  std::latch(num_ranks()), std::latch(num_ranks()), std::latch(num_ranks())};
  for (int rank = 0; rank < num_ranks(); ++rank) {
    threads_.emplace_back([this, rank, &loading] { RunRank(rank, loading); });
  }
  loading.loaded.wait();
  const auto loaded = std::chrono::steady_clock::now();
  loading.ready.wait();
  parts_.info.warm_up_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - loaded).count();
  group_watch_.emplace(parts_.devices.communicators);
  parts_.info.weight_bytes = weight_bytes_;
  parts_.info.weight_bytes_per_token = weight_bytes_per_token_;
}

ThreadedRunner::~ThreadedRunner() {
  group_watch_.reset();
  channel_.Close();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadedRunner::RunRank(int rank, Loading& loading) {
  const auto index = static_cast<std::size_t>(rank);
  kernels::Backend& backend = *parts_.devices.backends[index];
  Rank computer(parts_.plan, ShapeOfRank(parts_.plan, rank, num_ranks()), parts_.limits,
                loading.source, loading.rope, backend, *parts_.devices.communicators[index]);
  weight_bytes_ += computer.model().bytes();
  weight_bytes_per_token_ += computer.model().bytes_per_token();
  heartbeats_[index] = &computer.heartbeat();
  RankFault fault(parts_.fault, rank, backend);
  if (rank == 0) {
    results_ = std::make_unique<ResultQueue>(parts_.limits, backend);
    if (parts_.stamp_steps) {
      stamps_ = std::make_unique<StepStamps>(parts_.limits.max_in_flight, backend);
    }
  }
  loading.loaded.arrive_and_wait();
  computer.WarmUp();
  loading.warm.arrive_and_wait();
  computer.RecordDecodes();
  loading.ready.count_down();
  while (const std::shared_ptr<const step::Plan> plan = channel_.Receive(rank)) {
    fault.Meet(plan->step);
    computer.Step(*plan, rank == 0 ? stamps_.get() : nullptr);
    if (rank == 0) results_->Push(plan->step, computer.drawn());
  }
}

void ThreadedRunner::Submit(step::Plan plan) {
  CHECK(in_flight_.size() < static_cast<std::size_t>(parts_.limits.max_in_flight),
        "more plans in flight than allowed");
  CHECK(plan.step == last_step_ + 1, "a plan out of order");
  last_step_ = plan.step;
  if (parts_.fault.kind == Fault::Kind::kStuckEngine && parts_.fault.step == plan.step) Hang();
  in_flight_.push_back(std::make_shared<const step::Plan>(std::move(plan)));
  channel_.Send(in_flight_.back());
}

step::Result ThreadedRunner::Collect() {
  CHECK(!in_flight_.empty(), "no plan is in flight");
  step::Result result = results_->Pop(*in_flight_.front());
  in_flight_.pop_front();
  if (stamps_ != nullptr) stamps_->Collected(result.step);
  return result;
}

std::vector<step::RankBeat> ThreadedRunner::beats() const {
  std::vector<step::RankBeat> beats;
  for (const Heartbeat* heartbeat : heartbeats_) beats.push_back(heartbeat->Read());
  return beats;
}

std::vector<double> ThreadedRunner::TakeStepGaps() {
  return stamps_ == nullptr ? std::vector<double>{} : stamps_->Take();
}

}  // namespace thinkwire::worker::model
