#include "worker/hub/piece_plan.h"

#include <algorithm>

#include "common/check.h"

namespace thinkwire::worker::hub {

PiecePlan::PiecePlan(std::int64_t bytes, std::int64_t there, std::int64_t piece_bytes) {
  for (std::int64_t first = there; first < bytes;) {
    const std::int64_t end = std::min(bytes, (first / piece_bytes + 1) * piece_bytes);
    entries_.push_back({.piece = {.first = first, .end = end}});
    first = end;
  }
}

std::optional<Piece> PiecePlan::Take() {
  const MutexLock lock(mu_);
  while (open_ < entries_.size() && entries_[open_].state != State::kOpen) ++open_;
  if (!status_.ok() || open_ == entries_.size()) return std::nullopt;
  Entry& entry = entries_[open_];
  entry.state = State::kTaken;
  entry.piece.direct = open_ == next_ && !has_writer_;
  if (entry.piece.direct) has_writer_ = true;
  return entry.piece;
}

bool PiecePlan::Done(const Piece& piece) {
  const MutexLock lock(mu_);
  const auto entry = std::ranges::find_if(
      entries_, [&](const Entry& one) { return one.piece.first == piece.first; });
  CHECK(entry != entries_.end() && entry->state == State::kTaken, "nobody has taken the piece");
  entry->state = State::kCame;
  if (piece.direct) {
    ++next_;
    return true;
  }
  if (has_writer_ || entry != entries_.begin() + static_cast<std::ptrdiff_t>(next_)) return false;
  has_writer_ = true;
  return true;
}

std::optional<Piece> PiecePlan::GoOn(const Piece& piece) {
  const MutexLock lock(mu_);
  CHECK(has_writer_ && piece.direct && entries_[next_].piece.first == piece.first,
        "another piece is the prefix's next");
  if (!status_.ok() || next_ + 1 == entries_.size() || entries_[next_ + 1].state != State::kOpen) {
    return std::nullopt;
  }
  entries_[next_++].state = State::kCame;
  Entry& entry = entries_[next_];
  entry.state = State::kTaken;
  entry.piece.direct = true;
  return entry.piece;
}

std::optional<Piece> PiecePlan::NextWaiting() {
  const MutexLock lock(mu_);
  CHECK(has_writer_, "nobody writes the prefix");
  if (!status_.ok() || next_ == entries_.size() || entries_[next_].state != State::kCame) {
    has_writer_ = false;
    return std::nullopt;
  }
  return entries_[next_++].piece;
}

void PiecePlan::Fail(const absl::Status& status) {
  const MutexLock lock(mu_);
  if (status_.ok()) status_ = status;
}

absl::Status PiecePlan::status() const {
  const MutexLock lock(mu_);
  return status_;
}

}  // namespace thinkwire::worker::hub
