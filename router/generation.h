#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/few_pollers.h"
#include "common/rpc/request_bytes.h"
#include "common/rpc/shares.h"
#include "router/account.h"
#include "router/admission/dispatch_queue.h"
#include "router/admission/fair_queue.h"
#include "router/admission/tenant_books.h"
#include "router/admission/tenant_limits.h"
#include "router/answer_wishes.h"
#include "router/attempts.h"
#include "router/decision/policy.h"
#include "router/decision/prompt_marks.h"
#include "router/escalation.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "router/generation_registry.h"
#include "router/held_events.h"
#include "router/ledger.h"
#include "router/move_schedule.h"
#include "router/retry_budget.h"
#include "router/router_metrics.h"
#include "router/takeover.h"
#include "router/variant_config.h"
#include "router/voting.h"
#include "router/waiting_events.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router {

class CacheSalts;
class Catalog;

// Where a generation's events go: a client's stream, or a test. Threads: any; must not block.
class EventSink {
 public:
  virtual ~EventSink() = default;

  // False, and nothing is kept, if it is full or has ended. When it has room again someone calls
  // Generation::Resume, and when it has ended Generation::Cancel.
  virtual bool Write(const v1::GenerateResponse& event) = 0;

  // Whether deltas that arrive together are to come as one, where each message costs much. One that
  // arrives alone comes as soon either way.
  virtual bool gathers() const { return false; }

  // After what was written; an error may overtake it. `usage` is what was spent so far, where an
  // error ends a request that had started. Once.
  virtual void Finish(const absl::Status& status, const std::optional<v1::Usage>& usage) = 0;
};

// The life of one request, from its arrival to its last event: has variant and worker decided,
// passes the worker's events to the sink as fast as the sink takes them, deltas that wait for it as
// one (WaitingEvents), and keeps what another worker would need to go on (Ledger). A worker that
// refuses or is lost before it has started is followed by another (Attempts), a new attempt each,
// and the client sees nothing of it. Before the first it may have to wait for a place
// (admission::DispatchQueue), or where none is live for a worker; its tenant has limits
// (admission::TenantBooks). After that another goes on from the ledger's state (Takeover), where it
// must wait without a thread, and the client sees Moved where it would see a second Started. With a
// consensus the outputs are held back until they have voted (Voting), and the rest of the attempt
// is not needed then. One whose reasoning came to no answer may begin anew at a better variant
// (Escalation): the client sees Restarted then.
//
// One attempt ends before the next begins, and the ledger takes messages of the latest alone: a
// worker that was given up and wakes up speaks to nobody.
// Owns: the request, without its prompt once the worker has told the prompt's ids; the ledger; the
// place on a worker; the sink; itself while it waits for a worker.
// Threads: any, unless a function says more.
class Generation final : public fleet::WorkerAttempt::Reader,
                         public MoveSchedule::Waiter,
                         public admission::DispatchQueue::Waiter,
                         public rpc::AtRest,
                         public std::enable_shared_from_this<Generation> {
 public:
  // What all generations share; outlives them, but for the catalog that each began with.
  struct Shared {
    const std::vector<VariantConfig>& variants;  // by index, as those of its decisions
    const decision::Policy& policy;
    fleet::WorkerPool& pool;
    RouterMetrics& metrics;
    GenerationRegistry& registry;
    const Clock& clock;
    RetryBudget& retries;
    MoveSchedule& moves;
    Clock::Duration resume_wait = kResumeWait;  // for a worker to go on with a stream
    const CacheSalts* cache_salts = nullptr;    // null: clients share cached prompt blocks
    admission::TenantBooks* books = nullptr;    // null: nobody is limited
    admission::DispatchQueue* queue = nullptr;  // null: requests wait at workers alone
    rpc::Shares* held_bytes = nullptr;          // what outputs hold that vote; null: nobody counts
    // Whose variants and policy they are, for as long as the request lives; null: they outlive it.
    std::shared_ptr<const Catalog> catalog{};
  };

  // A request that has just arrived. Start or Refuse follows.
  static std::shared_ptr<Generation> Make(const Shared& shared, fleet::CallContext context,
                                          std::shared_ptr<EventSink> sink);
  // Neither the client's side nor the worker's holds it any more.
  ~Generation() override;

  // Names the request in logs and in AnswerNow.
  const std::string& request_id() const { return request_id_; }

  // What the request takes, which shrinks to what is kept of it. Before Start.
  void Hold(rpc::RequestBytes::Held held) { held_ = std::move(held); }

  // What its tenant may have here. Before Start.
  void Limit(const admission::TenantLimits& limits) { limits_ = limits; }

  // Begins. Once. REQUIRES: rpc::CheckRequest has passed the request.
  void Start(v1::GenerateRequest request);

  // Ends a request that shall not begin. Instead of Start.
  void Refuse(const absl::Status& status) { End(status); }

  // The sink has room again.
  void Resume();

  // Nobody reads any more: ends the worker's call. Idempotent.
  void Cancel();

  // Whose it is; empty: there are no tenants.
  const std::string& tenant() const { return context_.tenant; }

  // Ends the reasoning of that output, nullopt: of all, soon: at the worker that has the request
  // and at each that goes on with it; where it waits, once a worker has begun with it. `on_done` is
  // told how many outputs end it now, at once or on a gRPC thread; UNAVAILABLE: its worker has not
  // heard.
  void AnswerNow(std::optional<std::int32_t> output, fleet::AnswerNowDone on_done);

  // What is known of the request so far. REQUIRES: it has ended.
  const Ledger& ledger() const { return ledger_; }

  // What it keeps in memory of request and outputs. REQUIRES: as ledger.
  std::size_t bytes() const {
    return request_.SpaceUsedLong() + ledger_.bytes() +
           marks_.list.capacity() * sizeof(decision::PromptMark) + escalation_.bytes();
  }

 private:
  Generation(const Shared& shared, fleet::CallContext context, std::shared_ptr<EventSink> sink);

  decision::Query Describe() const;
  absl::Status Lease();
  absl::Status LeaseSuccessor(Clock::TimePoint now);
  void Choose(fleet::WorkerLease lease, const decision::Query& query);
  void Take(fleet::WorkerLease lease);
  void StartAttempt();
  void Send(fleet::WorkerAttempt& attempt);
  void DropPrompt();
  void CountBytes();

  // Its tenant's limits, then a place, or a wait for one, or the end.
  void Apply();
  absl::Status Book();
  absl::Status FindPlace();
  absl::Status Wait(const std::string& variant, const admission::FairQueue::Request& request,
                    decision::Query query, const fleet::Offer& offer);
  void Begin();
  admission::FairQueue::Request MakeTurn(const decision::Decision& decision) const;
  // In the queue's books it runs at that variant too, where it has just been given a place.
  void RunNextAt(const std::string& variant, const decision::Decision& decision);
  // A place that is free now, for a request that has left the queue long ago.
  absl::StatusOr<fleet::WorkerLease> LeaseAtOnce(const decision::Policy& policy,
                                                 const decision::Query& query);
  // Whether it has its place now.
  absl::StatusOr<bool> TakeTurn();
  absl::Status TooLate(const std::string& variant, double excess_s);
  bool GoOnWaiting();
  void EndWait();
  void Decline(const absl::Status& status);
  void EndAdmission();
  decision::PromptMarks MarkPrompt();

  // admission::DispatchQueue::Waiter.
  bool Dispatch() override;
  void TellPlace(const admission::DispatchQueue::Place& place) override;
  void TellSilence() override;
  void SendAway() override;

  // fleet::WorkerAttempt::Reader.
  bool OnMessage(v1::WorkerGenerateResponse&& message) override;
  void OnEnd(const absl::Status& status) override;
  // MoveSchedule::Waiter.
  void OnTurn() override;
  // rpc::AtRest.
  void OnRest() override;

  // Before it has started: a worker, a wait for one, or the end.
  void FindFirst();
  // The same after `status` of one.
  void FindAnother(const absl::Status& status);
  void FindNext();
  // Where there is none, for that reason: whether it waits for one.
  bool WaitsToBegin(const absl::Status& status);
  void NoteRetry(const std::string& left);
  // After `status`, once it has: another worker, a wait for one, or the end.
  void FindSuccessor(const absl::Status& status);
  Takeover::Circumstances CircumstancesOf(const absl::Status& status) const;
  std::size_t BytesToMove() const;
  void Search();
  bool MayGoOn(Clock::TimePoint now) const;
  void WaitForTurn(Clock::TimePoint look);
  // That it looks for a worker to go on, where the client asks for that.
  void TellMoving(Clock::TimePoint now);
  bool is_over();
  absl::Status CancelStatus() const;

  // With a consensus: takes it in, makes the worker's request of it; holds an event of an output
  // back; has the client told once the vote is over; the next event that it is told then.
  void BeginVoting(v1::GenerateRequest& request);
  void Hold(const v1::GenerateResponse& event, Clock::TimePoint now);
  void CountHeldBytes(std::int64_t bytes);
  void TellThatItVotes(Clock::TimePoint now);
  void TellVote();
  v1::Completed CompleteVote(Clock::TimePoint now) const;
  bool TakeTold() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountVote(const absl::Status& status);
  // What an error tells of a request that had started.
  v1::Usage MakeUsage() const;
  // Its reasoning came to no answer: it begins anew, or goes on where it was.
  void Escalate(v1::ReasoningFinishCause cause);
  bool LeaseBetter();
  bool CanBeInTime(const decision::Decision& decision) const;
  // An attempt of a run that has not started has ended so.
  void FailToRestart(const absl::Status& status);
  void Stay();
  void GoBack();
  v1::GenerateResponse Restart(const v1::Started& started, Clock::TimePoint now);

  bool Complete(v1::GenerateResponse& event, bool had_started, Clock::TimePoint now);
  void CompleteQueued(v1::Queued& queued) const;
  void NotePrompt(const v1::Started& started);
  void CompleteStarted(v1::Started& started);
  void NoteLimits(const v1::Started& started);
  bool CompleteStartedAgain(v1::GenerateResponse& event, Clock::TimePoint now);
  v1::GenerateResponse MakeMoved(Clock::TimePoint now);
  void CompleteCompleted(v1::Completed& completed, Clock::TimePoint now) const;
  // Hands the event to the sink, behind what waits. Whether the attempt may bring the next.
  bool Pass(v1::GenerateResponse&& event);
  void Flush();
  bool WriteWhatWaits() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Conclude(const absl::Status& status);
  void End(const absl::Status& status);

  // Tells the worker what it has not heard of.
  void PassAnswerWishes();
  // Has it told again with the next event. False: it was told often enough.
  bool PassAnswerWishesAgain();
  v1::WorkerAnswerNowRequest MakeAnswerNow(std::optional<std::int32_t> output) const;

  // Set by Make. The entry goes last: what is shared may go with it.
  GenerationRegistry::Entry entry_;
  const Shared shared_;
  const fleet::CallContext context_;
  const Clock::TimePoint arrival_;
  const std::string request_id_;
  const std::shared_ptr<EventSink> sink_;
  AnswerWishes answer_wishes_;

  // Set before and by Start, then one hook of the attempt, or of the queue, at a time.
  rpc::RequestBytes::Held held_;
  v1::WorkerGenerateRequest
      request_;  // as the latest attempt was sent it, the prompt until its ids
  Ledger ledger_;
  Account account_;
  Attempts attempts_;
  Takeover takeover_;
  Escalation escalation_;
  std::optional<std::size_t> stays_at_;  // the worker whose run it goes on with, after all
  std::int64_t context_tokens_ = 0;      // prompt and output, as Started told
  std::size_t counted_ledger_bytes_ = 0;
  decision::PromptMarks marks_;               // of the prompt, which may be gone
  std::optional<Clock::TimePoint> begin_by_;  // once it waits for a first worker
  Clock::TimePoint told_moving_at_;
  std::string worker_;  // of the log; empty: none was chosen
  admission::TenantLimits limits_;
  admission::TenantBooks::Entry booked_;
  admission::DispatchQueue::Ticket ticket_;         // while it waits
  admission::DispatchQueue::Running running_;       // once it has gone
  admission::DispatchQueue::Running next_running_;  // where it may begin anew
  std::string waits_for_;                           // the variant; empty: it does not wait
  std::optional<decision::Query> query_;            // while it waits
  std::optional<fleet::WorkerLease> lease_;
  std::unique_ptr<Voting> voting_;               // with a consensus
  std::int64_t counted_held_bytes_ = 0;          // of it, in the metrics
  absl::Status voting_failure_;                  // why it has ended its attempt
  std::optional<Clock::TimePoint> said_voting_;  // when the client was told last that it votes

  Mutex mu_;
  // This, while it waits for OnTurn or Dispatch.
  std::shared_ptr<Generation> idle_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<fleet::WorkerAttempt> attempt_ ABSL_GUARDED_BY(mu_);
  WaitingEvents waiting_ ABSL_GUARDED_BY(mu_);
  bool sink_is_full_ ABSL_GUARDED_BY(mu_) = false;  // until Resume
  bool awaits_rest_ ABSL_GUARDED_BY(mu_) = false;   // until OnRest
  HeldEvents told_ ABSL_GUARDED_BY(mu_);            // that it goes on with, after a vote
  Clock::TimePoint told_at_ ABSL_GUARDED_BY(mu_);   // when that was over
  bool found_ ABSL_GUARDED_BY(mu_) = false;  // its worker finds the request: it has begun to speak
  int answer_now_tries_ ABSL_GUARDED_BY(mu_) = 0;  // that have failed, of the attempt
  std::atomic<bool> passes_wishes_ = false;        // with the next event; changed under mu_
  bool paused_ ABSL_GUARDED_BY(mu_) = false;       // the attempt waits for ReadMore
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mu_);
  bool end_told_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace thinkwire::router
