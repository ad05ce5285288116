#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/request_bytes.h"
#include "router/attempts.h"
#include "router/decision/experience.h"
#include "router/decision/policy.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "router/generation_registry.h"
#include "router/ledger.h"
#include "router/router_metrics.h"
#include "router/variant_config.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router {

class CacheSalts;

// Where a generation's events go: a client's stream, or a test. Threads: any; must not block.
class EventSink {
 public:
  virtual ~EventSink() = default;

  // False, and nothing is kept, if it is full or has ended. When it has room again someone calls
  // Generation::Resume, and when it has ended Generation::Cancel.
  virtual bool Write(const v1::GenerateResponse& event) = 0;

  // After what was written; an error may overtake it. `usage` is what was spent so far, where an
  // error ends a request that had started. Once.
  virtual void Finish(const absl::Status& status, const std::optional<v1::Usage>& usage) = 0;
};

// The life of one request, from its arrival to its last event: has variant and worker decided,
// passes the worker's events to the sink, one at a time and as fast as the sink takes them, and
// keeps what another worker would need to go on. A worker that refuses or is lost before its first
// event is followed by another (Attempts), a new attempt each, and the client sees nothing of it;
// after an event an error is the end. Counts and logs the request.
// Owns: the request, without its prompt once the worker has told the prompt's ids; the ledger; the
// place on a worker; the sink.
// Threads: any, unless a function says more.
class Generation final : public fleet::WorkerAttempt::Reader,
                         public std::enable_shared_from_this<Generation> {
 public:
  // What all generations share; outlives them.
  struct Shared {
    const std::vector<VariantConfig>& variants;
    const decision::Policy& policy;
    fleet::WorkerPool& pool;
    RouterMetrics& metrics;
    GenerationRegistry& registry;
    const Clock& clock;
    const CacheSalts* cache_salts = nullptr;  // null: clients share cached prompt blocks
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

  // Begins. Once. REQUIRES: rpc::CheckRequest has passed the request.
  void Start(v1::GenerateRequest request);

  // Ends a request that shall not begin. Instead of Start.
  void Refuse(const absl::Status& status) { End(status); }

  // The sink has room again.
  void Resume() { Flush(); }

  // Nobody reads any more: ends the worker's call. Idempotent.
  void Cancel();

  // What is known of the request so far. REQUIRES: it has ended.
  const Ledger& ledger() const { return ledger_; }

  // What it keeps in memory of request and outputs. REQUIRES: as ledger.
  std::size_t bytes() const { return request_.SpaceUsedLong() + ledger_.bytes(); }

 private:
  Generation(const Shared& shared, fleet::CallContext context, std::shared_ptr<EventSink> sink);

  absl::Status Lease();
  void StartAttempt();
  bool TryAnother(const absl::Status& status);
  bool is_over();
  void DropPrompt();
  void CountBytes();

  // fleet::WorkerAttempt::Reader.
  bool OnMessage(v1::WorkerGenerateResponse message) override;
  void OnEnd(const absl::Status& status) override;

  void Complete(v1::GenerateResponse& event, Clock::TimePoint now);
  void CompleteStarted(v1::Started& started, Clock::TimePoint now);
  enum class Flushed { kAtOnce, kLater };
  Flushed Flush();
  void End(const absl::Status& status);
  void CompleteQueued(v1::Queued& queued) const;
  void Learn();
  std::optional<v1::Usage> UsageSoFar() const;
  void Log(const absl::Status& status, Clock::TimePoint now) const;
  TokenCounts counts() const { return meter_ ? meter_->counts() : TokenCounts{}; }
  StreamPhase phase() const { return meter_ ? meter_->phase() : StreamPhase::kNone; }

  // Set by Make. The entry goes last: what is shared may go with it.
  GenerationRegistry::Entry entry_;
  const Shared shared_;
  const fleet::CallContext context_;
  const Clock::TimePoint arrival_;
  const std::string request_id_;
  const std::shared_ptr<EventSink> sink_;

  // Set before and by Start, then one hook of the attempt at a time.
  rpc::RequestBytes::Held held_;
  v1::WorkerGenerateRequest
      request_;  // as the latest attempt was sent it, the prompt until its ids
  Ledger ledger_;
  Attempts attempts_;
  bool heard_ = false;  // of any worker: the sink has its event, or will
  std::size_t counted_ledger_bytes_ = 0;
  std::string variant_;     // of the metrics and the log; empty: none was chosen
  std::string worker_;      // of the log, likewise
  std::string_view cause_;  // why that variant, likewise
  std::optional<fleet::WorkerLease> lease_;
  std::optional<StreamMeter> meter_;  // once a worker is chosen
  std::int32_t discarded_tokens_ = 0;
  decision::Taken taken_;  // as far as is known

  Mutex mu_;
  std::shared_ptr<fleet::WorkerAttempt> attempt_ ABSL_GUARDED_BY(mu_);
  std::optional<v1::GenerateResponse> waiting_ ABSL_GUARDED_BY(mu_);  // did not fit yet
  bool paused_ ABSL_GUARDED_BY(mu_) = false;  // the attempt waits for ReadMore
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mu_);
  bool end_told_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace thinkwire::router
