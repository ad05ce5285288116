#include "worker/engine/time_share.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace thinkwire::worker::engine {
namespace {

constexpr double kForgotten = 0.01;  // seconds of use that make no difference

}  // namespace

void TimeShare::Age(TimeUse& time, Clock::TimePoint now) const {
  if (now <= time.used_at) return;
  const double left = std::exp(-ToSeconds(now - time.used_at) / kMemory);
  time.used *= left;
  time.forgone *= left;
  time.used_at = now;
}

void TimeShare::Divide(std::span<const Want> wants, bool more, Clock::TimePoint now) {
  ++division_;
  now_ = now;
  holds_back_ = false;
  first_ = nullptr;
  payer_ = nullptr;
  if (wants.size() < 2 || !cost_.known()) return;
  const Want* const first = First(wants, now);
  if (first == nullptr) return;
  first_ = first->peer;
  first_ready_ = first->ready;
  first_->time.allowance = 0;
  double all = cost_.base();
  for (const Want& want : wants) all += cost_.Of(want.work);
  const double pace = std::min(cost_.base() + cost_.Of(first->work), longest());
  if (more || all > kFree * pace) HoldBack(wants, *first, pace);
}

const TimeShare::Want* TimeShare::First(std::span<const Want> wants, Clock::TimePoint now) {
  double least = std::numeric_limits<double>::infinity();
  for (const Want& want : wants) {
    TimeUse& time = want.peer->time;
    Age(time, now);
    if (!time.stuck) least = std::min(least, time.counted());
  }
  const Want* first = nullptr;
  for (const Want& want : wants) {
    const TimeUse& time = want.peer->time;
    if (time.stuck || time.counted() > least + kLead) continue;
    if (first == nullptr || Lasting(want.work) < Lasting(first->work)) first = &want;
  }
  return first;
}

double TimeShare::Lasting(StepWork work) const {
  work.more_inputs = std::max<std::int64_t>(0, work.more_inputs - work.rows * kLeastChunk);
  return cost_.Of(work);
}

void TimeShare::HoldBack(std::span<const Want> wants, const Want& first, double pace) {
  const double least = first_->time.counted();
  const double much = kMuch * Lasting(first.work);
  for (const Want& want : wants) Forgo(*want.peer, Lasting(want.work) > much, least);
  const auto is_over = [&](const Want& want) {
    return want.peer->time.counted() > least + (Lasting(want.work) > much ? 0 : kSlack);
  };
  const double trickle = kTrickle * std::max(cost_.base(), pace / 4) /
                         static_cast<double>(std::ranges::count_if(wants, is_over));
  for (const Want& want : wants) {
    if (want.peer == first_) continue;
    TimeUse& time = want.peer->time;
    const double part = is_over(want) ? trickle : pace;
    if (committed_) time.allowance = std::min(time.allowance + part, cost_.Of(want.work));
    time.held_in = division_;
  }
  holds_back_ = true;
  committed_ = false;
}

void TimeShare::Forgo(Peer& peer, bool wants_much, double least) {
  const bool is_news = wants_much && !std::exchange(peer.time.wants_much, true);
  const double claim = least + (is_news ? kSlack : 0);
  peer.time.forgone += std::max(0.0, claim - peer.time.counted());
}

void TimeShare::Lift() {
  ++division_;
  holds_back_ = false;
}

bool TimeShare::TooLong(const StepWork& work) const {
  const double seconds = cost_.base() + cost_.Of(work);
  return seconds > kLong && seconds > kLongBases * cost_.base();
}

double TimeShare::longest() const {
  if (!expects_others_ || !cost_.known()) return std::numeric_limits<double>::infinity();
  return std::max(kLongest, kLongestBases * cost_.base());
}

template <class May>
std::int32_t TimeShare::Cut(std::int32_t count, const May& may) {
  while (count > kLeastChunk && !may(count)) count = std::max(kLeastChunk, count / 2);
  return count;
}

std::int32_t TimeShare::Affordable(const Peer& peer, std::int64_t first_position,
                                   std::int32_t count) const {
  if (!Holds(peer)) return count;
  const auto affords = [&](std::int32_t inputs) {
    return cost_.Of(StepWork::OfRow(first_position, inputs)) <= peer.time.allowance;
  };
  count = Cut(count, affords);
  return affords(count) ? count : 0;
}

std::int32_t TimeShare::Timely(const StepWork& step, std::int64_t first_position,
                               std::int32_t count, bool progress) const {
  const double left = longest() - cost_.base() - cost_.Of(step);
  const auto fits = [&](std::int32_t inputs) {
    return cost_.Of(StepWork::OfRow(first_position, inputs)) <= left;
  };
  count = Cut(count, fits);
  return progress || fits(count) ? count : 0;
}

void TimeShare::Charge(Peer& peer, const StepWork& work) {
  const double seconds = cost_.Of(work);
  Age(peer.time, now_);
  peer.time.used += seconds;
  peer.time.stuck = false;
  if (Holds(peer)) peer.time.allowance -= seconds;
  if (payer_ == nullptr || &peer == first_) payer_ = &peer;
}

void TimeShare::Commit() {
  if (payer_ != nullptr) payer_->time.used += cost_.base();
  if (holds_back_ && first_ready_ && payer_ != first_) first_->time.stuck = true;
  committed_ = true;
}

TimeUse TimeShare::Recall(const std::string& name) {
  const auto found = remembered_.find(name);
  if (found == remembered_.end()) return {};
  const TimeUse time = found->second;
  remembered_.erase(found);
  return time;
}

void TimeShare::Remember(const std::string& name, const TimeUse& time) {
  if (time.used <= kForgotten) return;
  if (remembered_.size() >= kMaxRemembered) ForgetOld(now_);
  if (remembered_.size() >= kMaxRemembered) {
    remembered_.erase(std::ranges::min_element(remembered_, {},
                                               [](const auto& past) { return past.second.used; }));
  }
  remembered_[name] = {.used = time.used, .used_at = time.used_at};
}

void TimeShare::ForgetSome(Clock::TimePoint now) {
  if (ToSeconds(now - forgot_at_) > kMemory) ForgetOld(now);
}

void TimeShare::ForgetOld(Clock::TimePoint now) {
  forgot_at_ = now;
  for (auto& [name, time] : remembered_) Age(time, now);
  std::erase_if(remembered_, [](const auto& past) { return past.second.used <= kForgotten; });
}

}  // namespace thinkwire::worker::engine
