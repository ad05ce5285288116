#include "router/admission/dispatch_queue.h"

#include <algorithm>

namespace thinkwire::router::admission {

DispatchQueue::Ticket& DispatchQueue::Ticket::operator=(Ticket&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(variant_, other.variant_);
  std::swap(request_, other.request_);
  std::swap(id_, other.id_);
  std::swap(place_, other.place_);
  return *this;
}

void DispatchQueue::Ticket::Leave() {
  DispatchQueue* const owner = std::exchange(owner_, nullptr);
  if (owner == nullptr) return;
  MutexLock lock(owner->mu_);
  owner->lines_[variant_].Remove(id_);
  place_ = {};
}

DispatchQueue::Running& DispatchQueue::Running::operator=(Running&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(variant_, other.variant_);
  std::swap(request_, other.request_);
  std::swap(tokens_, other.tokens_);
  return *this;
}

DispatchQueue::Running::~Running() {
  if (owner_ != nullptr) owner_->End(*this);
}

double DispatchQueue::Line::PaceSeconds(Clock::TimePoint now) const {
  return pace.seconds(now).value_or(expected_pace_s);
}

std::optional<double> DispatchQueue::Line::WaitOf(std::size_t position,
                                                  Clock::TimePoint now) const {
  const double pace_s = PaceSeconds(now);
  if (pace_s <= 0) return std::nullopt;
  return static_cast<double>(position + 1) * pace_s;
}

void DispatchQueue::Line::Begin(const FairQueue::Request& request) {
  const auto [share, is_new] = running.try_emplace(request.tenant, Share{.weight = request.weight});
  share->second.running += request.outputs;
  all_running += request.outputs;
  if (is_new) all_weights += request.weight;
}

void DispatchQueue::Line::End(const FairQueue::Request& request) {
  const auto share = running.find(request.tenant);
  all_running -= request.outputs;
  share->second.running -= request.outputs;
  if (share->second.running > 0) return;
  all_weights -= share->second.weight;
  running.erase(share);
}

bool DispatchQueue::Line::IsBehind(const std::string& tenant) const {
  const auto found = running.find(tenant);
  if (found == running.end()) return true;
  const Share& share = found->second;
  return static_cast<double>(share.running) * all_weights <
         static_cast<double>(std::min(all_running, places)) * share.weight;
}

double DispatchQueue::Line::Surplus(std::int64_t places) const {
  double surplus = 0;
  for (const auto& [tenant, share] : running) {
    const double part = static_cast<double>(places) * share.weight / all_weights;
    surplus += std::max(0.0, static_cast<double>(share.running) - std::max(part, 1.0));
  }
  return surplus;
}

void DispatchQueue::Line::Remove(FairQueue::Id id) {
  queue.Remove(id);
  entries.erase(id);
  if (queue.empty()) pace.Rest();
}

void DispatchQueue::Start() {
  thread_ = std::thread([this] {
    for (;;) {
      Tick();
      MutexLock lock(mu_);
      if (stopping_) return;
      if (!HasWork()) changed_.WaitFor(mu_, kTellInterval);
    }
  });
}

void DispatchQueue::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void DispatchQueue::Close() {
  MutexLock lock(mu_);
  closed_ = true;
  changed_.NotifyAll();
}

bool DispatchQueue::HasWork() const {
  const auto waits = [](const auto& line) { return !line.second.queue.empty(); };
  return !to_look_at_.empty() || (closed_ && std::ranges::any_of(lines_, waits));
}

DispatchQueue::Entered DispatchQueue::Enter(const std::string& variant,
                                            const FairQueue::Request& request, const Terms& terms,
                                            std::weak_ptr<Waiter> waiter) {
  auto held = places_.Take(request.tenant, 1);
  if (!held) return {.outcome = Entered::Outcome::kFull};
  const Clock::TimePoint now = clock_.Now();
  MutexLock lock(mu_);
  Line& line = lines_[variant];
  if (terms.expected_pace_s > 0) line.expected_pace_s = terms.expected_pace_s;
  Entered entered;
  entered.place.position = line.queue.CountAhead(request, now);
  entered.place.wait_s = line.WaitOf(entered.place.position, now);
  if (terms.longest_wait_s && entered.place.wait_s > kSureShare * *terms.longest_wait_s) {
    entered.outcome = Entered::Outcome::kTooLate;
    entered.excess_s = *entered.place.wait_s - kSureShare * *terms.longest_wait_s;
    return entered;
  }
  Ticket& ticket = entered.ticket;
  ticket.owner_ = this;
  ticket.variant_ = variant;
  ticket.request_ = request;
  ticket.id_ = line.queue.Add(request, now);
  ticket.place_ = *std::move(held);
  line.entries.emplace(ticket.id_, Entry{.waiter = std::move(waiter),
                                         .told = entered.place.position,
                                         .tells_silence = terms.tells_silence});
  // A place may have become free since it was looked for.
  to_look_at_.insert(variant);
  changed_.NotifyAll();
  return entered;
}

DispatchQueue::Running DispatchQueue::Go(Ticket& ticket) {
  Running running;
  running.owner_ = this;
  running.variant_ = ticket.variant_;
  running.request_ = ticket.request_;
  running.tokens_ = ticket.request_.cost;
  MutexLock lock(mu_);
  Line& line = lines_[ticket.variant_];
  line.queue.Take(ticket.id_);
  line.entries.erase(ticket.id_);
  line.pace.Count(clock_.Now(), !line.queue.empty());
  line.Begin(ticket.request_);
  ticket.owner_ = nullptr;
  const rpc::Shares::Held place = std::move(ticket.place_);
  return running;
}

DispatchQueue::Running DispatchQueue::BeginAtOnce(const std::string& variant,
                                                  const FairQueue::Request& request) {
  Running running;
  running.owner_ = this;
  running.variant_ = variant;
  running.request_ = request;
  running.tokens_ = request.cost;
  MutexLock lock(mu_);
  Line& line = lines_[variant];
  line.queue.Charge(request);
  line.Begin(request);
  return running;
}

void DispatchQueue::End(const Running& running) {
  const FairQueue::Request& request = running.request_;
  MutexLock lock(mu_);
  Line& line = lines_[running.variant_];
  line.queue.Correct(request.tenant, request.weight, running.tokens_ - request.cost);
  line.End(request);
}

Clock::Duration DispatchQueue::ComeAgain(const std::string& variant, double excess_s) {
  const auto from = [](double s) {
    return std::chrono::duration_cast<Clock::Duration>(
        std::chrono::duration<double>(std::clamp(s, 0.0, ToSeconds(kLatestReturn))));
  };
  const Clock::TimePoint now = clock_.Now();
  MutexLock lock(mu_);
  Line& line = lines_[variant];
  const Clock::TimePoint behind = line.next_return + from(line.PaceSeconds(now));
  line.next_return =
      std::clamp(std::max(now + from(excess_s), behind), now + kSoonestReturn, now + kLatestReturn);
  return line.next_return - now;
}

void DispatchQueue::Look(const std::string& variant) {
  MutexLock lock(mu_);
  const auto line = lines_.find(variant);
  if (line == lines_.end() || line->second.queue.empty()) return;
  to_look_at_.insert(variant);
  changed_.NotifyAll();
}

fleet::Room DispatchQueue::RoomOfNew(const std::string& variant, const std::string& tenant,
                                     std::int64_t places) {
  MutexLock lock(mu_);
  Line& line = lines_[variant];
  line.places = places;
  if (line.IsBehind(tenant) && !line.queue.Has(tenant)) return fleet::Room::kFirst;
  return line.queue.empty() ? fleet::Room::kOrdinary : fleet::Room::kNone;
}

fleet::Room DispatchQueue::RoomAtTurn(const std::string& variant, const std::string& tenant,
                                      std::int64_t places) {
  MutexLock lock(mu_);
  Line& line = lines_[variant];
  line.places = places;
  return line.IsBehind(tenant) ? fleet::Room::kFirst : fleet::Room::kOrdinary;
}

double DispatchQueue::SurplusAt(const std::string& variant, std::int64_t places) const {
  MutexLock lock(mu_);
  const auto found = lines_.find(variant);
  return found == lines_.end() ? 0 : found->second.Surplus(places);
}

std::size_t DispatchQueue::NumWaiting(const std::string& variant) const {
  MutexLock lock(mu_);
  const auto found = lines_.find(variant);
  return found == lines_.end() ? 0 : found->second.queue.size();
}

void DispatchQueue::Tick() {
  std::set<std::string> due;
  bool closed = false;
  {
    MutexLock lock(mu_);
    due.swap(to_look_at_);
    closed = closed_;
  }
  if (closed) return SendAllAway();
  for (const std::string& variant : due) DispatchLine(variant);
  TellPlaces();
}

void DispatchQueue::DispatchLine(const std::string& variant) {
  while (DispatchFirst(variant, false) || DispatchFirst(variant, true)) {
  }
}

bool DispatchQueue::DispatchFirst(const std::string& variant, bool of_behind) {
  std::shared_ptr<Waiter> waiter;
  FairQueue::Id id = 0;
  {
    MutexLock lock(mu_);
    Line& line = lines_[variant];
    const auto may = [&](const std::string& tenant) { return !of_behind || line.IsBehind(tenant); };
    const auto next = line.queue.Next(clock_.Now(), may);
    if (!next) return false;
    id = *next;
    waiter = line.entries.at(id).waiter.lock();
  }
  if (waiter && !waiter->Dispatch()) return false;
  MutexLock lock(mu_);
  lines_[variant].Remove(id);  // if it has ended, not gone
  return true;
}

void DispatchQueue::SendAllAway() {
  std::vector<std::shared_ptr<Waiter>> all;
  {
    MutexLock lock(mu_);
    for (auto& [variant, line] : lines_) {
      while (!line.entries.empty()) {
        const auto first = line.entries.begin();
        if (auto waiter = first->second.waiter.lock()) all.push_back(std::move(waiter));
        line.Remove(first->first);
      }
    }
  }
  for (const auto& waiter : all) waiter->SendAway();
}

void DispatchQueue::AddTold(Line& line, Clock::TimePoint now, std::vector<Told>& told) {
  const std::vector<FairQueue::Id> order = line.queue.Order();
  for (std::size_t i = 0; i < order.size(); ++i) {
    Entry& entry = line.entries.at(order[i]);
    const bool is_new = std::exchange(entry.told, i) != i;
    if (!is_new && !entry.tells_silence) continue;
    auto waiter = entry.waiter.lock();
    if (!waiter) continue;
    std::optional<Place> place;
    if (is_new) place = {.position = i, .wait_s = line.WaitOf(i, now)};
    told.push_back({.waiter = std::move(waiter), .place = place});
  }
}

void DispatchQueue::TellPlaces() {
  const Clock::TimePoint now = clock_.Now();
  std::vector<Told> told;
  {
    MutexLock lock(mu_);
    if (now < next_telling_) return;
    next_telling_ = now + kTellInterval;
    for (auto& [variant, line] : lines_) {
      if (line.queue.empty()) continue;
      AddTold(line, now, told);
      // What no event tells of: workers that are gone, deadlines that cannot be met any more.
      to_look_at_.insert(variant);
    }
  }
  for (const Told& one : told) {
    one.place ? one.waiter->TellPlace(*one.place) : one.waiter->TellSilence();
  }
}

}  // namespace thinkwire::router::admission
