#include "worker/engine/waiting_queue.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::engine {

void WaitingQueue::Add(Sequence& sequence, std::int64_t rank) {
  const bool fresh = !sequence.preempted();
  const Place place{.fresh = fresh, .rank = fresh ? rank : 0, .handle = sequence.handle()};
  Line& line = lines_[&sequence.peer()];
  const auto at = line.emplace(place, &sequence).first;
  CHECK(places_.emplace(sequence.handle(), at).second, "a sequence waits once");
  new_ = true;
  if (lines_.size() > 1 || std::next(at) != line.end()) moved_ = true;
}

void WaitingQueue::Remove(const Sequence& sequence) {
  const auto place = places_.find(sequence.handle());
  CHECK(place != places_.end(), "the sequence waits");
  const auto line = lines_.find(&sequence.peer());
  if (lines_.size() > 1 || std::next(place->second) != line->second.end()) moved_ = true;
  line->second.erase(place->second);
  if (line->second.empty()) lines_.erase(line);
  places_.erase(place);
}

WaitingQueue::Turn WaitingQueue::TurnOf(const Line::value_type& waiting, std::int32_t ahead) const {
  const auto& [place, sequence] = waiting;
  const Peer& peer = sequence->peer();
  const std::uint64_t arrival = sequence->arrival_step();
  const std::int64_t rank = place.fresh ? place.rank : order_.Rank(0, arrival);
  return {peer.running + ahead, order_.Later(rank, arrival, peer.served_step), place.handle};
}

const WaitingQueue::Line::value_type& WaitingQueue::Front() const {
  CHECK(!empty(), "someone waits");
  const auto turn = [this](const auto& line) { return TurnOf(*line.second.begin(), 0); };
  return *std::ranges::min_element(lines_, {}, turn)->second.begin();
}

Sequence& WaitingQueue::front() const { return *Front().second; }

bool WaitingQueue::ComesBefore(std::int64_t rank, RequestHandle handle) const {
  return !empty() && Front().first < Place{.fresh = true, .rank = rank, .handle = handle};
}

bool WaitingQueue::FrontComesBeforePreempted(std::uint64_t step) const {
  return std::get<std::int64_t>(TurnOf(Front(), 0)) < order_.Rank(0, step);
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

std::vector<Sequence*> WaitingQueue::InOrder() const {
  std::vector<std::pair<Turn, Sequence*>> turns;
  turns.reserve(places_.size());
  for (const auto& [peer, line] : lines_) {
    std::int32_t ahead = 0;
    for (const auto& waiting : line) turns.emplace_back(TurnOf(waiting, ahead++), waiting.second);
  }
  std::ranges::sort(turns, {}, [](const auto& turn) { return turn.first; });
  std::vector<Sequence*> sequences;
  for (const auto& [turn, sequence] : turns) sequences.push_back(sequence);
  return sequences;
}

void WaitingQueue::ReportNew() {
  std::int32_t position = 0;
  for (Sequence* const sequence : InOrder()) {
    if (!sequence->knows_position()) sequence->TellPosition(position);
    ++position;
  }
}

void WaitingQueue::ReportAll() {
  std::int32_t position = 0;
  for (Sequence* const sequence : InOrder()) sequence->TellPosition(position++);
}

}  // namespace thinkwire::worker::engine
