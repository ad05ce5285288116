#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "router/decision/policy.h"
#include "router/decision/worker_view.h"
#include "router/fleet/losses.h"
#include "router/fleet/turns.h"
#include "router/fleet/worker_trust.h"
#include "router/variant_config.h"

namespace thinkwire::router::fleet {

// How a variant's workers do, all together.
struct VariantState {
  std::int32_t configured = 0;
  std::int32_t live = 0;
  std::int32_t draining = 0;
  std::int32_t out = 0;  // ejected, or not proved well since they hung
  std::int32_t queued = 0;
  std::int32_t running = 0;
  std::int32_t max_model_len = 0;
  std::vector<std::string> fingerprints;  // different ones, ascending
};

// The list of the workers, by index: what each has said, what it has done, and so whether it is
// live. A worker is live while
//   - its status speaks, of its variant's model with the fingerprint that the variant requires;
//   - it is not draining;
//   - its ranks move on while there is work (kMaxStall);
//   - it is not out: neither ejected for its failures nor hung before (WorkerTrust).
//
// 1. Of the workers of a variant that would be live otherwise at most half are ejected.
// 2. Where none is left live, the ejected are back at once: a worker that fails now and then is
//    more than none.
// 3. One that stood still, or whose status fell silent, is out until it has answered a probe, even
//    if it is the only one: what is known of it is that it serves nobody.
//
// Different fingerprints under one variant are warned of in the log, once a change.
// Threads: one at a time.
class Roster {
 public:
  explicit Roster(std::vector<VariantConfig> variants);

  // The variants are these from now on: a worker that does not serve its own as they say is not
  // live. Returns as Hear. REQUIRES: the earlier ones have the same indices.
  bool Reconfigure(std::vector<VariantConfig> variants);

  // Returns its index, which is its own until Free; it may have been another's before.
  std::size_t Add(std::size_t variant, const std::string& address, Clock::TimePoint now);
  // It gets nothing new; what it has goes on. Returns as Hear.
  bool Remove(std::size_t index);
  // It is configured again. REQUIRES: Remove.
  void Restore(std::size_t index);
  // The same index may be another's from now on. REQUIRES: Remove, and it has no request any more.
  void Free(std::size_t index);

  // Indices are below it; some may be nobody's.
  std::size_t size() const { return views_.size(); }
  // In the order of indices, as a policy is to see them: nobody is not live, and of no variant.
  std::span<const decision::WorkerView> views() const { return views_; }
  const VariantConfig& VariantOf(std::size_t index) const;
  Clock::TimePoint heard_at(std::size_t index) const { return members_[index].heard_at; }

  // What is heard of a worker's status. Each returns whether a worker has become live or ceased to
  // be, or the live ones of a variant have other fingerprints.
  bool Hear(std::size_t index, absl::StatusOr<decision::WorkerStatus> status, Clock::TimePoint now);
  bool FallSilent(std::size_t index, Clock::TimePoint now);
  bool Lose(std::size_t index, const std::string& why);
  // It is waited for from now on.
  void Await(std::size_t index, Clock::TimePoint now) { members_[index].heard_at = now; }
  // Finds who stands still, and notes who is live and who is so no more. To be called some times a
  // second; returns as the others.
  bool Look(Clock::TimePoint now);

  // What a worker's requests tell: one of so many outputs is given, an output of it has ended
  // before the last, it is taken back with those that are left. Fail and EndProbe return as Hear.
  void Give(std::size_t index, std::int32_t outputs = 1);
  void EndOutput(std::size_t index) { End(index, 1); }
  void TakeBack(std::size_t index, std::int32_t outputs, bool begun);
  void Begin(std::size_t index) { members_[index].trust.Begin(); }
  void Succeed(std::size_t index) { members_[index].trust.Succeed(); }
  bool Fail(std::size_t index, WorkerTrust::Failure failure, Clock::TimePoint given,
            Clock::TimePoint now);
  // How many were there at the latest failure of a request that it had begun with, this one and
  // those of other routers among them.
  std::int64_t LostTogether(std::size_t index) const { return members_[index].lost_together; }
  Losses LossesOf(std::size_t variant) const;
  void LearnPace(std::size_t index, double seconds_per_token, double prompt_tokens_per_s);

  // Those that are to be asked for a token; EndProbe tells what came of it.
  std::vector<std::size_t> DueProbes(Clock::TimePoint now) const;
  bool EndProbe(std::size_t index, const absl::Status& status, Clock::TimePoint now);

  // Those whose ranks stand still while another of the variant is live, which can go on with their
  // streams.
  std::vector<std::size_t> Stalled() const;

  // By worker, how many streams of its own the others of its variant have room for: places of live
  // ones without a queue that have half of their blocks free.
  std::vector<std::int64_t> RoomElsewhere() const;

  // Has the policy choose among the most trusted workers of each variant alone, and among those
  // with room; brings the age of each status up to date. The last of query.tried that it returns
  // the number of are those without room.
  std::size_t PassOver(decision::Query& query, Clock::TimePoint now);

  // A request may go there without waiting in the router. As long as the worker has a place for it,
  // by its own word and by what this router has sent since, or a few (LookAhead) wait there for
  // one, so that it is never idle between two; a few of this router's in any case, so that they get
  // their part of a worker that others fill. Room::kFirst: as many again, and whatever `surplus` of
  // its load the worker puts off for such a one. But none beside more than `most_beside` others,
  // where it is said. REQUIRES: it is live.
  bool HasPlace(std::size_t index, Room room, double surplus,
                std::optional<double> most_beside = {}) const;
  // Has the policy choose among workers of the variant alone, and among those with a place.
  void KeepPlaces(std::size_t variant, Room room, double surplus, std::optional<double> most_beside,
                  decision::Query& query) const;
  // The same without places.
  void KeepVariant(const std::string& name, decision::Query& query) const;
  // Lets the policy see what waits in the router.
  void ShareOutWaiting(const Turns& turns);
  std::size_t NumLive(std::size_t variant) const;
  std::int64_t Places(std::size_t variant) const;  // of its live workers

  VariantState Describe(std::size_t variant) const;
  bool AnyLive() const;
  // Whether Look has found one of the variant of that name live in the last kMayComeBack.
  bool WasLiveLately(std::string_view variant, Clock::TimePoint now) const;

 private:
  // What belongs to a worker beside its view.
  struct Member {
    WorkerTrust trust{};
    Clock::TimePoint heard_at{};  // of its status, or waited for since
    bool stalled = false;
    bool was_live = false;
    bool removed = false;
    std::int64_t ended = 0;  // outputs of this router, since its last status
    bool served = false;     // it was live, as Look has last found
    std::int64_t lost_together = 0;
  };

  void End(std::size_t index, std::int64_t outputs);
  // Would be live if it were not out.
  bool Speaks(std::size_t index) const;
  bool MayEject(std::size_t variant) const;
  // Brings the view in line with what is known. Whether it is live now and was not, or vice versa.
  bool Update(std::size_t index);
  // The same with what follows for its variant: returns as Hear.
  bool Settle(std::size_t index);
  bool ReadmitIfNoneIsLeft(std::size_t variant);
  bool IsStalled(std::size_t index, Clock::TimePoint now) const;
  void NoteLosses(Clock::TimePoint now);
  void LogChange(const decision::WorkerView& worker) const;

  std::set<std::string> FingerprintsOf(std::size_t variant) const;
  bool UpdateFingerprints(std::size_t variant);

  std::vector<VariantConfig> variants_;
  std::vector<Member> members_;  // a worker at the same index in both
  std::vector<decision::WorkerView> views_;
  std::vector<Loss> losses_;                              // as Losses has them, of all variants
  std::vector<std::size_t> free_;                         // indices that are nobody's
  std::vector<std::set<std::string>> fingerprints_;       // by variant
  std::vector<std::optional<Clock::TimePoint>> live_at_;  // likewise: when Look last found one
};

}  // namespace thinkwire::router::fleet
