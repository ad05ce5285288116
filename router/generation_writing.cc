// What a generation's client is sent, and when.

#include <memory>
#include <optional>
#include <utility>

#include "common/rpc/few_pollers.h"
#include "router/generation.h"

namespace thinkwire::router {

// Where the sink gathers, a delta waits for those that have arrived too.
bool Generation::Pass(v1::GenerateResponse&& event) {
  {
    MutexLock lock(mu_);
    waiting_.Add(std::move(event));
    if (!sink_->gathers() || !waiting_.has_room()) WriteWhatWaits();
    paused_ = !waiting_.has_room();
    if (paused_) return false;
    if (waiting_.empty() || sink_is_full_ || std::exchange(awaits_rest_, true)) return true;
  }
  rpc::TellAtRest(shared_from_this());
  return true;
}

void Generation::OnRest() {
  {
    MutexLock lock(mu_);
    awaits_rest_ = false;
  }
  Flush();
}

void Generation::Resume() {
  {
    MutexLock lock(mu_);
    sink_is_full_ = false;
  }
  Flush();
}

// False: some of it has to wait on.
bool Generation::WriteWhatWaits() {
  while (!waiting_.empty() || TakeTold()) {
    if (!cancelled_) {
      sink_is_full_ = sink_is_full_ || !sink_->Write(waiting_.front());
      if (sink_is_full_) return false;
    }
    waiting_.Pop();
  }
  return true;
}

// Writes what waits, then the end. Called wherever one of them, or room, is new.
void Generation::Flush() {
  std::shared_ptr<fleet::WorkerAttempt> go_on;
  std::optional<absl::Status> end;
  {
    MutexLock lock(mu_);
    const bool all = WriteWhatWaits();
    if (paused_ && waiting_.has_room()) {
      paused_ = false;
      go_on = attempt_;
    }
    if (all && ended_ && !end_told_) {
      end_told_ = true;
      end = cancelled_ ? CancelStatus() : *ended_;
    }
  }
  if (go_on) go_on->ReadMore();
  if (end) End(*end);
}

void Generation::Conclude(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    ended_ = status;
  }
  Flush();
}

}  // namespace thinkwire::router
