#include "router/fleet/roster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/log.h"
#include "common/peer_limits.h"
#include "common/shown_text.h"
#include "common/utf8.h"
#include "router/decision/experience.h"
#include "router/decision/variant_names.h"

namespace thinkwire::router::fleet {
namespace {

constexpr char kSilent[] = "it is silent";
constexpr char kDraining[] = "it is draining";
constexpr char kStalled[] = "its ranks make no progress";
constexpr char kRemoved[] = "it is not configured any more";
constexpr char kUnproved[] = "it has failed, and has not proved yet that it is well again";
constexpr std::size_t kNoVariant = -1;

// Whether a worker that serves `served_name` serves the variant.
bool IsServedAs(const VariantConfig& variant, const std::string& served_name) {
  return absl::EqualsIgnoreCase(served_name, variant.name) ||
         decision::HasAlias(variant, served_name);
}

// Why a worker of that status does not serve the variant; empty: it does.
std::string WhyUnfit(const VariantConfig& variant, const decision::WorkerStatus& status) {
  if (!IsServedAs(variant, status.served_model_name)) {
    return absl::StrCat("it serves \"", CutText(status.served_model_name, kMaxShownBytes), "\"");
  }
  const std::string& required = variant.require_fingerprint;
  if (required.empty() || status.fingerprint == required) return "";
  return absl::StrCat("its fingerprint is ", CutText(status.fingerprint, kMaxShownBytes),
                      ", the required one ", CutText(required, kMaxShownBytes));
}

// Places for streams of other workers. REQUIRES: it is live.
std::int64_t RoomOf(const decision::WorkerView& worker) {
  const decision::WorkerStatus& status = *worker.status;
  if (status.queued > 0 || 2 * status.free_kv_blocks < status.total_kv_blocks) return 0;
  const std::int64_t load = std::max<std::int64_t>(worker.leased, status.running);
  return std::max<std::int64_t>(0, status.max_num_seqs - load);
}

// REQUIRES: it is live.
bool HasRoom(const decision::WorkerView& worker) {
  return worker.leased < MaxRequestsOfWorker(worker.status->max_queue, worker.status->max_num_seqs);
}

// What it tells of other routers' requests and of those that it has parked. One of this router that
// it counts nowhere is parked, or on its way; it may still count those of it that have `ended`
// since its last status.
void ShareOut(std::int64_t ended, decision::WorkerView& worker) {
  worker.others = worker.parked = 0;
  if (!worker.status) return;
  const std::int64_t told = std::int64_t{worker.status->queued} + worker.status->running;
  worker.others = std::max(told - worker.leased - ended, std::int64_t{0});
  const std::int64_t untold = std::max(worker.leased - told, std::int64_t{0});
  worker.parked = std::min<std::int64_t>(untold, worker.status->parked);
}

}  // namespace

Roster::Roster(std::vector<VariantConfig> variants)
    : variants_(std::move(variants)), fingerprints_(variants_.size()), live_at_(variants_.size()) {}

bool Roster::Reconfigure(std::vector<VariantConfig> variants) {
  variants_ = std::move(variants);
  fingerprints_.resize(variants_.size());
  live_at_.resize(variants_.size());
  bool changed = false;
  for (std::size_t i = 0; i < views_.size(); ++i) {
    decision::WorkerView& view = views_[i];
    if (!view.status) continue;
    const std::string why = WhyUnfit(VariantOf(i), *view.status);
    if (why.empty()) continue;
    view.status.reset();
    view.why_not = why;
    changed |= Settle(i);
  }
  return changed;
}

std::size_t Roster::Add(std::size_t variant, const std::string& address, Clock::TimePoint now) {
  std::size_t index = views_.size();
  if (free_.empty()) {
    members_.emplace_back();
    views_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  members_[index] = {.heard_at = now};
  views_[index] = {.variant = variant, .address = address};
  return index;
}

bool Roster::Remove(std::size_t index) {
  members_[index].removed = true;
  members_[index].stalled = false;
  views_[index].status.reset();
  views_[index].why_not = kRemoved;
  return Settle(index);
}

void Roster::Restore(std::size_t index) {
  members_[index].removed = false;
  views_[index].why_not = decision::WorkerView().why_not;
}

void Roster::Free(std::size_t index) {
  CHECK(members_[index].removed && views_[index].leased == 0, "nobody needs it");
  members_[index] = {};
  views_[index] = {.variant = kNoVariant};
  free_.push_back(index);
}

const VariantConfig& Roster::VariantOf(std::size_t index) const {
  return variants_[views_[index].variant];
}

bool Roster::Hear(std::size_t index, absl::StatusOr<decision::WorkerStatus> status,
                  Clock::TimePoint now) {
  decision::WorkerView& view = views_[index];
  members_[index].heard_at = now;
  view.why_not =
      status.ok() ? WhyUnfit(VariantOf(index), *status) : std::string(status.status().message());
  view.status.reset();
  if (view.why_not.empty()) view.status = *std::move(status);
  ShareOut(std::exchange(members_[index].ended, 0), view);
  members_[index].stalled = IsStalled(index, now);
  if (members_[index].stalled) members_[index].trust.Suspect(now);
  return Settle(index);
}

bool Roster::FallSilent(std::size_t index, Clock::TimePoint now) {
  members_[index].trust.Suspect(now);
  views_[index].status.reset();
  views_[index].why_not = kSilent;
  return Settle(index);
}

bool Roster::Lose(std::size_t index, const std::string& why) {
  decision::WorkerView& view = views_[index];
  view.status.reset();
  if (view.why_not != kSilent) view.why_not = why;
  members_[index].stalled = false;
  return Settle(index);
}

bool Roster::Look(Clock::TimePoint now) {
  bool changed = false;
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (views_[i].live()) live_at_[views_[i].variant] = now;
    if (members_[i].stalled || !IsStalled(i, now)) continue;
    members_[i].stalled = true;
    members_[i].trust.Suspect(now);
    changed |= Settle(i);
  }
  NoteLosses(now);
  return changed;
}

// Statuses come every second: what a rank did since the latest is not known yet, and assumed to be
// nothing if it had stood still by then.
bool Roster::IsStalled(std::size_t index, Clock::TimePoint now) const {
  const decision::WorkerView& view = views_[index];
  if (!view.status || view.status->without_progress_s <= 0) return false;
  const double since_s = ToSeconds(now - members_[index].heard_at);
  return view.status->without_progress_s + since_s > ToSeconds(kMaxStall);
}

bool Roster::Speaks(std::size_t index) const {
  const decision::WorkerView& view = views_[index];
  return view.status && !view.status->draining && !members_[index].stalled;
}

bool Roster::Update(std::size_t index) {
  Member& member = members_[index];
  decision::WorkerView& view = views_[index];
  view.out = member.stalled || member.trust.is_out();
  if (view.status) {
    view.why_not = view.status->draining ? kDraining
                   : member.stalled      ? kStalled
                   : view.out            ? kUnproved
                                         : "";
  }
  if (view.live() == member.was_live) return false;
  member.was_live = view.live();
  LogChange(view);
  return true;
}

bool Roster::Settle(std::size_t index) {
  const std::size_t variant = views_[index].variant;
  bool changed = Update(index);
  changed |= ReadmitIfNoneIsLeft(variant);
  changed |= UpdateFingerprints(variant);
  return changed;
}

bool Roster::ReadmitIfNoneIsLeft(std::size_t variant) {
  std::vector<std::size_t> ejected;
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (views_[i].variant != variant) continue;
    if (views_[i].live()) return false;
    if (Speaks(i) && members_[i].trust.is_ejected()) ejected.push_back(i);
  }
  for (const std::size_t i : ejected) {
    members_[i].trust.Readmit();
    Update(i);
  }
  return !ejected.empty();
}

bool Roster::MayEject(std::size_t variant) const {
  std::size_t speaking = 0;
  std::size_t out = 0;
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (views_[i].variant != variant || !Speaks(i)) continue;
    ++speaking;
    if (views_[i].out) ++out;
  }
  return 2 * (out + 1) <= speaking;
}

bool Roster::Fail(std::size_t index, WorkerTrust::Failure failure, Clock::TimePoint given,
                  Clock::TimePoint now) {
  WorkerTrust& trust = members_[index].trust;
  const decision::WorkerView& view = views_[index];
  const bool counts = trust.Fail(failure, given, now);
  if (counts) members_[index].lost_together = trust.begun() + view.others;
  if (!counts || trust.is_out()) return false;
  if (!trust.deserves_ejection() || !view.live() || !MayEject(view.variant)) {
    LogWarning("a worker is distrusted for a while", {{"worker", view.address}});
    return false;
  }
  const Clock::Duration time = trust.Eject(now);
  LogWarning("a worker is ejected", {{"worker", view.address}, {"for_s", ToSeconds(time)}});
  return Settle(index);
}

void Roster::LearnPace(std::size_t index, double seconds_per_token, double prompt_tokens_per_s) {
  decision::WorkerView& view = views_[index];
  if (view.live()) decision::LearnPace(seconds_per_token, prompt_tokens_per_s, view);
}

std::vector<std::size_t> Roster::DueProbes(Clock::TimePoint now) const {
  std::vector<std::size_t> due;
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (members_[i].trust.IsProbeDue(now) && Speaks(i)) due.push_back(i);
  }
  return due;
}

bool Roster::EndProbe(std::size_t index, const absl::Status& status, Clock::TimePoint now) {
  Member& member = members_[index];
  if (!member.trust.is_out()) return false;  // it was needed meanwhile
  // An answer from before it stood still says nothing.
  member.trust.EndProbe(status.ok() && !member.stalled, now);
  if (!status.ok()) {
    LogWarning(
        "a worker has not answered a probe",
        {{"worker", views_[index].address}, {"code", absl::StatusCodeToString(status.code())}});
  }
  return Settle(index);
}

std::vector<std::size_t> Roster::Stalled() const {
  std::vector<bool> has_live(variants_.size());
  for (const decision::WorkerView& view : views_) {
    if (view.live()) has_live[view.variant] = true;
  }
  std::vector<std::size_t> stalled;
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (members_[i].stalled && has_live[views_[i].variant]) stalled.push_back(i);
  }
  return stalled;
}

std::vector<std::int64_t> Roster::RoomElsewhere() const {
  std::vector<std::int64_t> of_variant(variants_.size());
  for (const decision::WorkerView& view : views_) {
    if (view.live()) of_variant[view.variant] += RoomOf(view);
  }
  std::vector<std::int64_t> elsewhere(views_.size());
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (views_[i].variant == kNoVariant) continue;
    elsewhere[i] = of_variant[views_[i].variant] - (views_[i].live() ? RoomOf(views_[i]) : 0);
  }
  return elsewhere;
}

std::size_t Roster::PassOver(decision::Query& query, Clock::TimePoint now) {
  std::vector<bool> usable(views_.size());
  for (std::size_t i = 0; i < views_.size(); ++i) {
    views_[i].silent_s = ToSeconds(now - members_[i].heard_at);
    usable[i] = views_[i].live();
  }
  for (const std::size_t tried : query.tried) usable[tried] = false;
  std::vector<std::size_t> full;
  std::vector<int> least(variants_.size(), WorkerTrust::kMostDistrust);
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (!usable[i]) continue;
    usable[i] = HasRoom(views_[i]);
    if (!usable[i]) full.push_back(i);
    int& of_variant = least[views_[i].variant];
    if (usable[i]) of_variant = std::min(of_variant, members_[i].trust.Distrust(now));
  }
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (usable[i] && members_[i].trust.Distrust(now) > least[views_[i].variant]) {
      query.tried.push_back(i);
    }
  }
  query.tried.insert(query.tried.end(), full.begin(), full.end());
  return full.size();
}

bool Roster::WasLiveLately(std::string_view variant, Clock::TimePoint now) const {
  const auto found = std::ranges::find(variants_, variant, &VariantConfig::name);
  if (found == variants_.end()) return false;
  const auto& live_at = live_at_[found - variants_.begin()];
  return live_at && now - *live_at <= kMayComeBack;
}

VariantState Roster::Describe(std::size_t variant) const {
  VariantState state;
  for (std::size_t i = 0; i < views_.size(); ++i) {
    const decision::WorkerView& view = views_[i];
    if (view.variant != variant || members_[i].removed) continue;
    ++state.configured;
    if (!view.status) continue;
    if (view.status->draining) {
      ++state.draining;
      continue;
    }
    if (view.out) {
      ++state.out;
      continue;
    }
    ++state.live;
    state.queued += view.status->queued;
    state.running += view.status->running;
    state.max_model_len = std::max(state.max_model_len, view.status->max_model_len);
  }
  const std::set<std::string> fingerprints = FingerprintsOf(variant);
  state.fingerprints.assign(fingerprints.begin(), fingerprints.end());
  return state;
}

bool Roster::AnyLive() const { return std::ranges::any_of(views_, &decision::WorkerView::live); }

std::set<std::string> Roster::FingerprintsOf(std::size_t variant) const {
  std::set<std::string> fingerprints;
  for (const decision::WorkerView& view : views_) {
    if (view.variant == variant && view.live()) fingerprints.insert(view.status->fingerprint);
  }
  return fingerprints;
}

bool Roster::UpdateFingerprints(std::size_t variant) {
  std::set<std::string> fingerprints = FingerprintsOf(variant);
  if (fingerprints == fingerprints_[variant]) return false;
  if (fingerprints.size() > 1) {
    LogWarning(
        "live workers of one variant have different fingerprints",
        {{"variant", variants_[variant].name}, {"fingerprints", absl::StrJoin(fingerprints, " ")}});
  }
  fingerprints_[variant] = std::move(fingerprints);
  return true;
}

void Roster::LogChange(const decision::WorkerView& worker) const {
  const bool meant =
      worker.live() || (worker.status && worker.status->draining) || worker.why_not == kRemoved;
  Log(meant ? LogLevel::kInfo : LogLevel::kWarning,
      worker.live() ? "worker is live" : "worker is not live",
      {{"variant", variants_[worker.variant].name},
       {"worker", worker.address},
       {"why", worker.why_not}});
}

}  // namespace thinkwire::router::fleet
