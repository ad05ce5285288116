#include "worker/engine/stall_watch.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace thinkwire::worker::engine {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(100);
constexpr int kExitStalled = 70;  // as after a CUDA error: the process is of no use, restart it

// Where each rank is, and which of them is behind the others.
std::string Whereabouts(const std::vector<step::RankBeat>& ranks) {
  std::string text;
  std::size_t last = 0;
  bool same = true;
  const auto is_before = [](const step::RankBeat& a, const step::RankBeat& b) {
    return a.step != b.step ? a.step < b.step : a.layer < b.layer;
  };
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    absl::StrAppend(&text, ", rank ", r, " last beat in step ", ranks[r].step, " layer ",
                    ranks[r].layer);
    if (is_before(ranks[r], ranks[last])) last = r;
    same = same && ranks[r] == ranks[0];
  }
  if (!same) absl::StrAppend(&text, ": rank ", last, " is behind");
  return text;
}

std::string Describe(const EnginePulse& pulse, Clock::Duration still) {
  std::string text = absl::StrFormat("no progress for %.1f s: ", ToSeconds(still));
  if (pulse.doing == EnginePulse::kCollecting) {
    absl::StrAppend(&text, "step ", pulse.collected + 1, " is not done", Whereabouts(pulse.ranks));
  } else {
    absl::StrAppend(&text, "the engine thread is stuck in its turn ", pulse.turns, ", after step ",
                    pulse.collected);
  }
  return text;
}

}  // namespace

std::optional<std::string> StallDetector::Look(const EnginePulse& pulse, Clock::TimePoint now) {
  if (!last_ || pulse.doing == EnginePulse::kWaiting || pulse != *last_) {
    still_ = Clock::Duration::zero();
  } else {
    still_ += std::min(now - looked_at_, kMaxGap);
  }
  last_ = pulse;
  looked_at_ = now;
  if (still_ < limit_) return std::nullopt;
  return Describe(pulse, still_);
}

StallWatch::StallWatch(const Engine& engine, const Clock& clock, Clock::Duration limit,
                       std::function<void(const std::string&)> on_stall)
    : engine_(engine),
      clock_(clock),
      on_stall_(std::move(on_stall)),
      detector_(limit),
      thread_([this] { Run(); }) {}

StallWatch::~StallWatch() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    stopped_.NotifyOne();
  }
  thread_.join();
}

void StallWatch::Run() {
  do {
    if (const auto stall = detector_.Look(engine_.pulse(), clock_.Now())) return on_stall_(*stall);
  } while (WaitForNextLook());
}

bool StallWatch::WaitForNextLook() {
  MutexLock lock(mu_);
  if (!stop_) stopped_.WaitFor(mu_, kLookEvery);
  return !stop_;
}

void EndStalledProcess(std::function<void()> say) {
  std::thread(std::move(say)).detach();
  std::this_thread::sleep_for(kLastWords);
  std::_Exit(kExitStalled);
}

}  // namespace thinkwire::worker::engine
