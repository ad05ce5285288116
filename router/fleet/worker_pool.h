#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/channel.h"
#include "router/decision/experience.h"
#include "router/decision/policy.h"
#include "router/decision/prompt_marks.h"
#include "router/decision/worker_view.h"
#include "router/fleet/discovery.h"
#include "router/fleet/losses.h"
#include "router/fleet/prefix_index.h"
#include "router/fleet/resolver.h"
#include "router/fleet/roster.h"
#include "router/fleet/silence.h"
#include "router/fleet/turns.h"
#include "router/fleet/worker_lease.h"
#include "router/fleet/worker_trust.h"
#include "router/variant_config.h"

namespace thinkwire::router::fleet {

class StatusWatch;
class WorkerAttempt;
class WorkerClient;

// What a request gets that may wait: its place, or the decision by which it has none yet.
struct Offer {
  std::optional<WorkerLease> lease{};
  decision::Decision decision{};
  std::size_t num_live = 0;  // workers of the variant
};

// The workers of all variants: watches them, gives them requests and probes those that are out
// (Roster says who is live). A worker is silent whose status says nothing for kSilence. A status
// stream that ends is begun again, later each time.
//
// A worker is who answers at an address. In its place the configuration may have a name, whose
// workers are all that it is found to mean (Discovery): one that it means no more gets nothing new,
// and is let go once its requests have ended; one too many, of kMaxWorkers, is left out. What the
// configuration itself names may change too (Introduce, Retire).
// Who is watched, leased, probed and named is under one lock, and so in one class.
// Owns: the clients, two threads. Threads: any.
class WorkerPool {
 public:
  static constexpr Clock::Duration kSilence = std::chrono::seconds(3);
  static constexpr Clock::Duration kFirstRetry = std::chrono::milliseconds(100);
  static constexpr Clock::Duration kLastRetry = std::chrono::seconds(5);

  // Is given the pool, which may not be known yet to whoever made it.
  using OnChange = std::function<void(const WorkerPool& pool)>;

  // `clock` outlives the pool. `on_change` is called, on any thread and without a lock held, when a
  // worker has become live or has ceased to be, or the live ones of a variant have other
  // fingerprints.
  WorkerPool(std::vector<VariantConfig> variants, const Clock& clock, OnChange on_change,
             const Patience& patience = {}, Resolver& resolver = Resolver::OfMachine(),
             const rpc::ChannelSecurity& security = {});
  ~WorkerPool();  // Stop

  // Runs Tick every 50 ms of real time until Stop, and looks names up.
  void Start();
  // Ends watches and thread. Leases may live on until the pool is destroyed. Idempotent.
  void Stop();

  // Begins the watches and probes that are due, and gives up on workers that are silent, on
  // attempts too, and on those of workers that stand still while another can go on with them.
  void Tick();

  // The configuration has these variants now, in steps, so that some live before the last of others
  // are gone. Introduce takes workers that are new. AwaitSuccessors waits, at most `timeout`, until
  // each variant that loses live workers, or is given them, has a live worker that stays. From
  // Retire on those that are not configured any more get nothing new, finish what they have and are
  // let go. A worker of another variant than before is another one. REQUIRES: the earlier variants
  // have the same indices; each Introduce is followed by a Retire with the same ones; one thread at
  // a time.
  void Introduce(const std::vector<VariantConfig>& variants);
  void AwaitSuccessors(const std::vector<VariantConfig>& variants, Clock::Duration timeout);
  void Retire(const std::vector<VariantConfig>& variants);

  // Looks the names of workers up, once.
  void LookUpNames() { discovery_.LookUpAll(); }

  // Waits until each name is looked up, and each worker has spoken or failed once, at most
  // `timeout`.
  void WaitForFirstContact(Clock::Duration timeout);

  // Has the policy decide, and counts the request as its worker's load, in one step: whoever asks
  // next sees it. The policy runs under the pool's lock; it is pure, and so never blocks. Of each
  // variant it sees those that are trusted most; what a worker says of itself comes after what it
  // does. A worker that has as many requests of this router as it can have of anybody
  // (MaxRequestsOfWorker) is passed over: one more would wait in the connection, unseen.
  // O(workers), at most two decisions. Fails, with what a client may be told: NOT_FOUND
  // VARIANT_NOT_FOUND, FAILED_PRECONDITION NO_VARIANT_FITS, UNAVAILABLE NO_LIVE_WORKER,
  // RESOURCE_EXHAUSTED QUEUE_FULL where those passed over would have done; the latter two with the
  // variant's name as the metadata "variant".
  // `marks`: of the prompt, under prefix_key(), by which the policy learns who has some of it.
  absl::StatusOr<WorkerLease> Lease(const decision::Policy& policy, decision::Query query,
                                    decision::PromptMarks marks = {});
  // The same for a request that may have to wait in the router: a place at once, or what was
  // decided without one. A place, and which one, is for `turns` to say; where the worker that was
  // decided for has none, another of the variant is taken that has. At most three decisions. Fails:
  // as Lease.
  absl::StatusOr<Offer> Ask(const decision::Policy& policy, decision::Query query,
                            decision::PromptMarks marks, const Turns& turns);
  // `on_room` is called, under the pool's lock, when a worker of the variant may have a place
  // again: it must not call the pool, nor block. Null: nobody is.
  void SetOnRoom(std::function<void(const std::string& variant)> on_room);
  const PrefixKey& prefix_key() const { return prefixes_.key(); }

  // Takes in what a request has taken of the leased worker, and how fast it was (LearnPace), for
  // decisions to come.
  void Learn(const WorkerLease& lease, const decision::Taken& taken, double seconds_per_token,
             double prompt_tokens_per_s);

  VariantState Describe(std::size_t variant) const;
  Losses LossesOf(std::size_t variant) const;
  bool AnyLive() const;
  // Those that may have requests of whichever router: that speak, drain or not. They must be let go
  // of before whoever waits for the pool's end hears that nothing is under way (~WorkerClient).
  std::vector<std::shared_ptr<WorkerClient>> Speaking() const;
  // Of the variant of that name: whether one was live in the last kMayComeBack, and may be again.
  bool WasLiveLately(const std::string& variant) const;

 private:
  friend class WorkerLease;
  // What belongs to a worker beside what the roster has.
  struct Worker {
    std::shared_ptr<WorkerClient> client;  // null: nobody has the index
    std::string canonical_address;
    std::optional<WorkerName> name;      // by whose look-up it was found
    bool removed = false;                // and gone once nothing of it is under way
    std::shared_ptr<StatusWatch> watch;  // while one runs
    bool watching = false;               // until its end was told
    Clock::TimePoint next_watch;
    int failures = 0;  // watches that ended without a word, in a row
    bool contacted = false;
    std::uint32_t life = 0;                // of PrefixIndex
    std::shared_ptr<WorkerAttempt> probe;  // while one runs
    bool probing = false;                  // until its end was told
  };
  // What is to be done outside the lock.
  struct Due {
    std::vector<std::size_t> watches;
    std::vector<std::size_t> probes;
    std::vector<std::shared_ptr<WorkerClient>> stalled;
    std::vector<std::pair<std::shared_ptr<WorkerClient>, std::int64_t>> all;  // and room elsewhere
    std::vector<std::shared_ptr<WorkerClient>> retired;                       // to be let go
    bool changed = false;
  };

  // What is kept of a name while it is configured.
  struct Name {
    bool looked_up = false;
    std::string complaint;  // the latest
  };

  void Add(std::size_t variant, const std::string& address, const std::optional<WorkerName>& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes the worker that the configuration has at the address, if it is not there yet.
  void AddConfigured(std::size_t variant, const std::string& address)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Those that the variants have no more. REQUIRES: they were introduced.
  std::vector<std::size_t> Leaving(const std::vector<VariantConfig>& variants) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether some variant, losing live ones of these or given them, has no live worker that stays.
  bool AreTheLast(const std::vector<std::size_t>& leaving,
                  const std::vector<VariantConfig>& variants) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetLookedUpNames() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Remove(std::size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnLookUp(const WorkerName& name, const absl::StatusOr<std::vector<std::string>>& addresses);
  // Has the name's workers be those at the addresses. Each returns whether they were others.
  bool RemoveOthers(const WorkerName& name, const std::vector<std::string>& addresses)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AddNew(const WorkerName& name, const std::vector<std::string>& addresses)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Where the worker of each address is, by its canonical spelling.
  std::map<std::string, std::size_t> ByAddress() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Makes it the name's of that variant, or nullopt's, the configuration's own, if it may be.
  // Whether it was none's.
  bool Adopt(std::size_t index, std::size_t variant, const std::optional<WorkerName>& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Complain(const WorkerName& name, const std::string& what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of channels to a worker that is dialled by address but was found by name: its certificate is
  // the name's.
  rpc::ChannelSecurity SecurityOf(const std::optional<WorkerName>& name) const;
  Due FindDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BeginWatch(std::size_t index);
  void OnStatus(std::size_t index, absl::StatusOr<decision::WorkerStatus> status);
  void OnWatchEnd(std::size_t index, const absl::Status& status);
  void BeginProbe(std::size_t index);
  void OnProbeEnd(std::size_t index, const absl::Status& status);
  // Whether what is heard of it still matters.
  bool Counts(std::size_t index) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !stopping_ && !workers_[index].removed;
  }
  void CancelCalls() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasCalls() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // What leases tell.
  void Begin(const WorkerLease& lease);
  void Succeed(const WorkerLease& lease);
  std::int64_t Fail(const WorkerLease& lease, WorkerTrust::Failure failure);
  void EndOutput(const WorkerLease& lease);
  void Release(const WorkerLease& lease);

  // Of those that the policy may see.
  void FillIn(const decision::PromptMarks& marks, decision::Query& query)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<decision::Decision> Decide(const decision::Policy& policy,
                                            const decision::Query& query) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What a client is told after `status`, where the last `num_full` of query.tried have no room.
  absl::Status Refusal(const decision::Policy& policy, decision::Query query, std::size_t num_full,
                       const absl::Status& status) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellRoom(std::size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FreeUnused(Due& due) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  WorkerLease Give(decision::Decision decision, decision::PromptMarks marks, std::int32_t outputs)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Its cache may be gone.
  void BeginLife(Worker& worker) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { worker.life = ++last_life_; }

  const Clock& clock_;
  const OnChange on_change_;
  const Patience patience_;
  const rpc::ChannelSecurity security_;
  Discovery discovery_;
  PrefixIndex prefixes_;

  mutable Mutex mu_;
  CondVar changed_;
  Roster roster_ ABSL_GUARDED_BY(mu_);
  std::vector<Worker> workers_ ABSL_GUARDED_BY(mu_);  // each at the same index as in the roster
  std::map<WorkerName, Name> names_ ABSL_GUARDED_BY(mu_);
  decision::Experience experience_ ABSL_GUARDED_BY(mu_);
  std::uint32_t last_life_ ABSL_GUARDED_BY(mu_) = 0;
  std::function<void(const std::string& variant)> on_room_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::router::fleet
