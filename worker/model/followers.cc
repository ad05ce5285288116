#include "worker/model/followers.h"

#include <algorithm>
#include <string>
#include <utility>

#include "worker/model/beat_encoding.h"
#include "worker/step/plan_encoding.h"

namespace thinkwire::worker::model {
namespace {

using parallel::Frame;
using parallel::FrameKind;

// A number, or a rank's beats: of more ranks than any host has.
constexpr std::size_t kMaxFollowerFrameBytes = 4096;

}  // namespace

Followers::Followers(std::unique_ptr<PlanChannel> own, std::vector<parallel::Member> members)
    : own_(std::move(own)), said_(members.size()) {
  for (std::size_t i = 0; i < members.size(); ++i) {
    said_[i].beats.resize(static_cast<std::size_t>(members[i].num_ranks));
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    links_.push_back(std::make_unique<parallel::ControlLink>(
        std::move(members[i].control), kMaxFollowerFrameBytes,
        [this, i](const Frame& frame) { return Hear(i, frame); }, [] { return std::string(); }));
  }
}

Followers::~Followers() = default;

absl::Status Followers::Hear(std::size_t member, const Frame& frame) {
  const MutexLock lock(mu_);
  Said& said = said_[member];
  const auto number = DecodeNumber(frame.payload);
  if (frame.kind == FrameKind::kBeat) {
    auto beats = DecodeBeats(frame.payload, said.beats.size());
    if (!beats) return absl::InvalidArgumentError("sent beats that are not its ranks'");
    said.beats = *std::move(beats);
  } else if (frame.kind == FrameKind::kBlocks && number.value_or(0) > 0 && !said.num_blocks) {
    said.num_blocks = number;
  } else if (frame.kind == FrameKind::kReady && number && !said.weight_bytes) {
    said.weight_bytes = number;
  } else {
    return absl::InvalidArgumentError("sent what no follower has to say");
  }
  changed_.NotifyAll();
  return absl::OkStatus();
}

std::vector<std::uint64_t> Followers::Await(std::optional<std::uint64_t> Said::*number) {
  std::vector<std::uint64_t> numbers;
  const MutexLock lock(mu_);
  for (const Said& said : said_) {
    while (!(said.*number)) changed_.Wait(mu_);
    numbers.push_back(*(said.*number));
  }
  return numbers;
}

std::int32_t Followers::AgreeOnBlocks(std::int32_t own) {
  auto least = static_cast<std::uint64_t>(own);
  for (const std::uint64_t blocks : Await(&Said::num_blocks)) least = std::min(least, blocks);
  for (const auto& link : links_) link->Send(FrameKind::kBlocks, 0, EncodeNumber(least));
  return static_cast<std::int32_t>(least);
}

std::int64_t Followers::AwaitReady() {
  std::uint64_t bytes = 0;
  for (const std::uint64_t of_one : Await(&Said::weight_bytes)) bytes += of_one;
  return static_cast<std::int64_t>(bytes);
}

std::vector<step::RankBeat> Followers::beats() const {
  const MutexLock lock(mu_);
  std::vector<step::RankBeat> all;
  for (const Said& said : said_) all.insert(all.end(), said.beats.begin(), said.beats.end());
  return all;
}

void Followers::Send(std::shared_ptr<const step::Plan> plan) {
  const std::string bytes = step::EncodePlan(*plan);
  for (const auto& link : links_) link->Send(FrameKind::kPlan, plan->step, bytes);
  own_->Send(std::move(plan));
}

void Followers::Close() {
  for (const auto& link : links_) {
    link->Part();
    link->Send(FrameKind::kEnd, 0, {});
  }
  own_->Close();
}

}  // namespace thinkwire::worker::model
