#include "worker/engine/waiting_queue.h"

#include "common/check.h"

namespace thinkwire::worker::engine {

void WaitingQueue::Add(Sequence& sequence) {
  const auto [place, added] = sequences_.emplace(sequence.handle(), &sequence);
  CHECK(added, "a sequence waits once");
  if (std::next(place) != sequences_.end()) moved_ = true;
}

void WaitingQueue::Remove(const Sequence& sequence) {
  const auto place = sequences_.find(sequence.handle());
  CHECK(place != sequences_.end(), "the sequence waits");
  if (std::next(place) != sequences_.end()) moved_ = true;
  sequences_.erase(place);
}

void WaitingQueue::Report(Clock::TimePoint now) {
  if (moved_ && (last_pass_ == Clock::TimePoint::min() || now - last_pass_ >= kReportInterval)) {
    last_pass_ = now;
    moved_ = false;
    ReportAll();
  } else {
    ReportNewest();
  }
}

std::optional<Clock::TimePoint> WaitingQueue::next_report() const {
  if (!moved_ || empty()) return std::nullopt;
  return last_pass_ + kReportInterval;
}

void WaitingQueue::ReportNewest() {
  std::int32_t position = size();
  for (auto it = sequences_.rbegin(); it != sequences_.rend(); ++it) {
    Sequence& sequence = *it->second;
    if (sequence.knows_position()) break;
    sequence.TellPosition(--position);
  }
}

void WaitingQueue::ReportAll() {
  std::int32_t position = 0;
  for (const auto& [handle, sequence] : sequences_) sequence->TellPosition(position++);
}

}  // namespace thinkwire::worker::engine
