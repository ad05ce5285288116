#include "worker/engine/reader_pace.h"

namespace thinkwire::worker::engine {

ReaderPace::Verdict ReaderPace::Look(const TokenStream::Reading& reading, Clock::Duration timeout,
                                     Clock::TimePoint now) {
  if (reading.waiting == 0) {
    mark_.reset();
    return Verdict::kKeepsUp;
  }
  const Mark here{.at = now, .taken = reading.taken};
  if (!mark_) mark_ = here;
  if (now - mark_->at < timeout) return Verdict::kBehind;
  if ((reading.taken - mark_->taken) * 4 < reading.capacity * 3) return Verdict::kTooSlow;
  mark_ = here;
  return Verdict::kBehind;
}

std::optional<Clock::TimePoint> ReaderPace::since() const {
  if (!mark_) return std::nullopt;
  return mark_->at;
}

}  // namespace thinkwire::worker::engine
