#include "worker/engine/waiting_queue.h"

#include "common/check.h"

namespace thinkwire::worker::engine {

void WaitingQueue::Add(Sequence& sequence, std::int64_t rank) {
  const bool fresh = !sequence.preempted();
  const Place place{.fresh = fresh, .rank = fresh ? rank : 0, .handle = sequence.handle()};
  const auto at = sequences_.emplace(place, &sequence).first;
  CHECK(places_.emplace(sequence.handle(), at).second, "a sequence waits once");
  new_ = true;
  if (std::next(at) != sequences_.end()) moved_ = true;
}

void WaitingQueue::Remove(const Sequence& sequence) {
  const auto place = places_.find(sequence.handle());
  CHECK(place != places_.end(), "the sequence waits");
  if (std::next(place->second) != sequences_.end()) moved_ = true;
  sequences_.erase(place->second);
  places_.erase(place);
}

bool WaitingQueue::ComesBefore(std::int64_t rank, RequestHandle handle) const {
  return !empty() &&
         sequences_.begin()->first < Place{.fresh = true, .rank = rank, .handle = handle};
}

void WaitingQueue::Report(Clock::TimePoint now) {
  if (moved_ && (last_pass_ == Clock::TimePoint::min() || now - last_pass_ >= kReportInterval)) {
    last_pass_ = now;
    moved_ = false;
    ReportAll();
  } else if (new_) {
    ReportNew();
  }
  new_ = false;
}

std::optional<Clock::TimePoint> WaitingQueue::next_report() const {
  if (!moved_ || empty()) return std::nullopt;
  return last_pass_ + kReportInterval;
}

void WaitingQueue::ReportNew() {
  std::int32_t position = 0;
  for (const auto& [place, sequence] : sequences_) {
    if (!sequence->knows_position()) sequence->TellPosition(position);
    ++position;
  }
}

void WaitingQueue::ReportAll() {
  std::int32_t position = 0;
  for (const auto& [place, sequence] : sequences_) sequence->TellPosition(position++);
}

}  // namespace thinkwire::worker::engine
