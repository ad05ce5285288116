#include "router/fleet/silence.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace thinkwire::router::fleet {

void Silence::Hear(bool brought_on, Clock::TimePoint now) {
  heard_at_ = now;
  if (!brought_on) return;
  progress_at_ = now;
  if (events_++ == 0) began_at_ = now;
}

void Silence::Pause(Clock::TimePoint now) {
  paused_ = true;
  paused_at_ = now;
}

void Silence::Resume(Clock::TimePoint now) {
  paused_ = false;
  heard_at_ = now;
  progress_at_ += now - paused_at_;
  began_at_ += now - paused_at_;
}

std::string Silence::WhatIsTooLong(Clock::TimePoint now) const {
  if (paused_) return "";
  if (now - heard_at_ > patience_.silence) {
    return absl::StrCat("said nothing for ", ToSeconds(now - heard_at_), " s");
  }
  if (now - progress_at_ > patience_.progress) {
    return absl::StrCat("gave nothing but signs of life for ", ToSeconds(now - progress_at_), " s");
  }
  return "";
}

bool Silence::StandsStill(Clock::TimePoint now) const {
  if (paused_ || events_ < kStandstillEvents) return false;
  const Clock::Duration usual = (progress_at_ - began_at_) / (events_ - 1);
  return now - progress_at_ > std::max(patience_.standstill, kStandstillEvents * usual);
}

}  // namespace thinkwire::router::fleet
