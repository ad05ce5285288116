#include "worker/model/followed_plans.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "worker/model/beat_encoding.h"
#include "worker/step/plan_encoding.h"

namespace thinkwire::worker::model {
namespace {

using parallel::Frame;
using parallel::FrameKind;

// Far above what the limits of any model let a plan have: it keeps a wrong number from taking all
// memory.
constexpr std::size_t kMaxPlanBytes = std::size_t{256} << 20;

}  // namespace

FollowedPlans::FollowedPlans(std::unique_ptr<parallel::PeerLink> leader, std::int32_t first_rank,
                             std::int32_t num_ranks, std::unique_ptr<PlanChannel> own)
    : first_rank_(first_rank),
      num_ranks_(num_ranks),
      own_(std::move(own)),
      link_(
          std::move(leader), kMaxPlanBytes, [this](const Frame& frame) { return Hear(frame); },
          [this] { return Beat(); }) {}

FollowedPlans::~FollowedPlans() = default;

absl::Status FollowedPlans::Hear(const Frame& frame) {
  if (frame.kind == FrameKind::kBeat) return absl::OkStatus();
  if (frame.kind == FrameKind::kPlan) return Take(frame);
  const MutexLock lock(mu_);
  const auto number = DecodeNumber(frame.payload);
  if (frame.kind == FrameKind::kBlocks && number && !num_blocks_) {
    num_blocks_ = number;
  } else if (frame.kind == FrameKind::kEnd && !ended_) {
    link_.Part();
    ended_ = true;
    own_->Close();
  } else {
    return absl::InvalidArgumentError("sent what no leader has to say");
  }
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Status FollowedPlans::Take(const Frame& frame) {
  auto plan = step::DecodePlan(frame.payload);
  if (!plan || plan->step != frame.step) {
    return absl::InvalidArgumentError(
        absl::StrCat("sent for step ", frame.step, " what is no plan"));
  }
  own_->Send(std::make_shared<const step::Plan>(*std::move(plan)));
  return absl::OkStatus();
}

std::string FollowedPlans::Beat() const {
  const MutexLock lock(mu_);
  return EncodeBeats(beats_ ? beats_()
                            : std::vector<step::RankBeat>(static_cast<std::size_t>(num_ranks_)));
}

absl::StatusOr<std::int32_t> FollowedPlans::AgreeOnBlocks(std::int32_t own) {
  link_.Send(FrameKind::kBlocks, 0, EncodeNumber(static_cast<std::uint64_t>(own)));
  const MutexLock lock(mu_);
  while (!num_blocks_ && !ended_) changed_.Wait(mu_);
  if (!num_blocks_) return absl::UnavailableError("the leader has ended the group");
  if (*num_blocks_ >= 1 && *num_blocks_ <= static_cast<std::uint64_t>(own)) {
    return static_cast<std::int32_t>(*num_blocks_);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the leader asks for ", *num_blocks_,
                   " KV blocks, of which this process has memory for ", own));
}

void FollowedPlans::Ready(std::int64_t weight_bytes,
                          std::function<std::vector<step::RankBeat>()> beats) {
  {
    const MutexLock lock(mu_);
    beats_ = std::move(beats);
  }
  link_.Send(FrameKind::kReady, 0, EncodeNumber(static_cast<std::uint64_t>(weight_bytes)));
}

void FollowedPlans::StopBeats() {
  const MutexLock lock(mu_);
  beats_ = nullptr;
}

void FollowedPlans::AwaitEnd() {
  const MutexLock lock(mu_);
  while (!ended_) changed_.Wait(mu_);
}

void FollowedPlans::Send(std::shared_ptr<const step::Plan>) {
  CHECK(false, "the leader alone plans");
}

std::shared_ptr<const step::Plan> FollowedPlans::Receive(int rank) {
  return own_->Receive(rank - first_rank_);
}

void FollowedPlans::Close() { CHECK(false, "the leader alone ends the plans"); }

}  // namespace thinkwire::worker::model
