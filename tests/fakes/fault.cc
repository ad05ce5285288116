#include "tests/fakes/fault.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "worker/kernels/backend.h"

namespace thinkwire::worker::model {
namespace {

// Row 2^30 of 8 KB each is terabytes away from any memory.
constexpr std::int64_t kRowWidth = 4096;
constexpr std::size_t kRowBytes = 2 * kRowWidth;
constexpr std::int32_t kWildRow = 1 << 30;

[[noreturn]] void Hang() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// A kernel that reads wild memory, ready to be given to a GPU.
class WildRead {
 public:
  explicit WildRead(kernels::Backend& backend)
      : backend_(backend), memory_(backend.Allocate(kRowBytes + sizeof(kWildRow))) {
    backend_.CopyToDevice(index(), &kWildRow, sizeof(kWildRow));
  }

  void Run() {
    const kernels::Tensor row =
        kernels::MakeTensor(memory_.data(), kernels::DType::kBf16, 1, kRowWidth);
    backend_.GatherRows(row, kernels::MakeTensor(index(), kernels::DType::kI32, 1), row);
  }

 private:
  void* index() const { return static_cast<std::byte*>(memory_.data()) + kRowBytes; }

  kernels::Backend& backend_;
  kernels::Buffer memory_;  // a row, then the index of one far beyond
};

class FaultyPlanChannel final : public PlanChannel {
 public:
  // `wild_read` is null where the rank is but stuck.
  FaultyPlanChannel(std::unique_ptr<PlanChannel> working, const Fault& fault,
                    std::unique_ptr<WildRead> wild_read)
      : working_(std::move(working)), fault_(fault), wild_read_(std::move(wild_read)) {}

  void Send(std::shared_ptr<const step::Plan> plan) override { working_->Send(std::move(plan)); }
  void Close() override { working_->Close(); }

  std::shared_ptr<const step::Plan> Receive(int rank) override {
    std::shared_ptr<const step::Plan> plan = working_->Receive(rank);
    if (plan == nullptr || rank != fault_.rank || plan->step != fault_.step) return plan;
    if (wild_read_ != nullptr) wild_read_->Run();
    Hang();
  }

 private:
  const std::unique_ptr<PlanChannel> working_;
  const Fault fault_;
  const std::unique_ptr<WildRead> wild_read_;
};

class FaultyRunner final : public ModelRunner {
 public:
  FaultyRunner(std::unique_ptr<ModelRunner> working, std::uint64_t step)
      : working_(std::move(working)), step_(step) {}

  const ModelInfo& info() const override { return working_->info(); }
  const step::Limits& limits() const override { return working_->limits(); }
  void Submit(step::Plan plan) override {
    if (plan.step == step_) Hang();
    working_->Submit(std::move(plan));
  }
  step::Result Collect() override { return working_->Collect(); }
  std::vector<step::RankBeat> beats() const override { return working_->beats(); }
  std::vector<double> TakeStepGaps() override { return working_->TakeStepGaps(); }

 private:
  const std::unique_ptr<ModelRunner> working_;
  const std::uint64_t step_;
};

class SlowRunner final : public ModelRunner {
 public:
  SlowRunner(std::unique_ptr<ModelRunner> working, std::chrono::microseconds step)
      : working_(std::move(working)), step_(step) {}

  const ModelInfo& info() const override { return working_->info(); }
  const step::Limits& limits() const override { return working_->limits(); }
  void Submit(step::Plan plan) override {
    submitted_.push_back(Clock::now());
    working_->Submit(std::move(plan));
  }
  // A step begins when the one before it has ended.
  step::Result Collect() override {
    step::Result result = working_->Collect();
    std::this_thread::sleep_until(std::max(ended_, submitted_.front()) + step_);
    submitted_.pop_front();
    ended_ = Clock::now();
    return result;
  }
  std::vector<step::RankBeat> beats() const override { return working_->beats(); }
  std::vector<double> TakeStepGaps() override { return working_->TakeStepGaps(); }

 private:
  using Clock = std::chrono::steady_clock;

  const std::unique_ptr<ModelRunner> working_;
  const std::chrono::microseconds step_;
  std::deque<Clock::time_point> submitted_;  // those that are not collected
  Clock::time_point ended_{};                // the last that was
};

}  // namespace

absl::StatusOr<Fault> ParseFault(std::string_view text) {
  Fault fault;
  if (text.empty()) return fault;
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(text.data(), text.size()), ':');
  std::size_t wanted = 3;
  if (parts[0] == "stuck_rank") {
    fault.kind = Fault::Kind::kStuckRank;
  } else if (parts[0] == "device_error") {
    fault.kind = Fault::Kind::kDeviceError;
  } else if (parts[0] == "stuck_engine") {
    fault.kind = Fault::Kind::kStuckEngine;
    wanted = 2;
  } else if (parts[0] == "slow_steps") {
    fault.kind = Fault::Kind::kSlowSteps;
    wanted = 2;
  }
  if (fault.kind == Fault::Kind::kNone || parts.size() != wanted ||
      !absl::SimpleAtoi(parts[1], &fault.step) || fault.step == 0 ||
      (wanted == 3 && (!absl::SimpleAtoi(parts[2], &fault.rank) || fault.rank < 0))) {
    return absl::InvalidArgumentError(
        "fault is none of stuck_rank:STEP:RANK, device_error:STEP:RANK, stuck_engine:STEP and "
        "slow_steps:MICROSECONDS, with steps from 1 and ranks from 0");
  }
  return fault;
}

absl::StatusOr<std::unique_ptr<PlanChannel>> WithFault(std::unique_ptr<PlanChannel> plans,
                                                       const Fault& fault, const Devices& devices) {
  std::unique_ptr<WildRead> wild_read;
  if (fault.kind == Fault::Kind::kDeviceError) {
    kernels::Backend& backend = *devices.backends.at(static_cast<std::size_t>(fault.rank));
    // A CPU's error is the process's own.
    if (backend.capabilities().kind != kernels::DeviceKind::kCuda) {
      return absl::InvalidArgumentError("the fault device_error needs a GPU");
    }
    wild_read = std::make_unique<WildRead>(backend);
  } else if (fault.kind != Fault::Kind::kStuckRank) {
    return plans;
  }
  return std::make_unique<FaultyPlanChannel>(std::move(plans), fault, std::move(wild_read));
}

std::unique_ptr<ModelRunner> WithFault(std::unique_ptr<ModelRunner> runner, const Fault& fault) {
  if (fault.kind == Fault::Kind::kSlowSteps) {
    return std::make_unique<SlowRunner>(std::move(runner), std::chrono::microseconds(fault.step));
  }
  if (fault.kind != Fault::Kind::kStuckEngine) return runner;
  return std::make_unique<FaultyRunner>(std::move(runner), fault.step);
}

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModelWithFault(const ModelOptions& options,
                                                                std::unique_ptr<PlanChannel> plans,
                                                                std::string_view text) {
  ASSIGN_OR_RETURN(const Fault fault, ParseFault(text));
  if (fault.rank >= options.tensor_parallel_size) {
    return absl::InvalidArgumentError(absl::StrCat("the fault's rank ", fault.rank, " is none of ",
                                                   options.tensor_parallel_size));
  }
  ASSIGN_OR_RETURN(Devices devices, OpenDevices(options));
  ASSIGN_OR_RETURN(plans, WithFault(std::move(plans), fault, devices));
  ASSIGN_OR_RETURN(auto runner, LoadModel(options, std::move(plans), std::move(devices)));
  return WithFault(std::move(runner), fault);
}

absl::StatusOr<std::unique_ptr<Follower>> LoadFollowerWithFault(const ModelOptions& options,
                                                                std::unique_ptr<PlanChannel> plans,
                                                                std::string_view text) {
  ASSIGN_OR_RETURN(Fault fault, ParseFault(text));
  if (fault.kind == Fault::Kind::kNone) return LoadFollower(options, std::move(plans));
  fault.rank -= options.group->first_rank;
  if (fault.kind != Fault::Kind::kStuckRank || fault.rank < 0 ||
      fault.rank >= options.group->num_ranks) {
    return absl::InvalidArgumentError(
        "the fault of a process that follows is stuck_rank, of one of its ranks");
  }
  return LoadFollower(options,
                      std::make_unique<FaultyPlanChannel>(std::move(plans), fault, nullptr));
}

}  // namespace thinkwire::worker::model
