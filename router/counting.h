#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "router/attempts.h"
#include "router/count_turns.h"
#include "router/decision/policy.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "router/retry_budget.h"
#include "router/router_metrics.h"
#include "router/variant_config.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router {

class Catalog;

// Where a count goes: a client's call, or a test. Threads: any; must not block.
class CountSink {
 public:
  virtual ~CountSink() = default;

  // Whether anybody waits for the count.
  virtual bool IsWanted() const = 0;

  // Once; nothing is asked of it afterwards.
  virtual void Finish(const absl::StatusOr<v1::CountTokensResponse>& count) = 0;
};

// The life of one CountTokens request, from its arrival to its answer: has variant and worker
// decided and asks the worker. One that refuses or is lost is followed by another (Attempts), and
// the client sees nothing of it.
// Owns: the request; the place on a worker; the sink. Lives until the sink has its end.
// Threads: one hook of a worker's call at a time.
class Counting final : public std::enable_shared_from_this<Counting> {
 public:
  // What all share; outlives them, but for the catalog that each began with.
  struct Shared {
    const std::vector<VariantConfig>& variants;  // by index, as those of its decisions
    const decision::Policy& policy;
    fleet::WorkerPool& pool;
    RouterMetrics& metrics;
    RetryBudget& retries;
    CountTurns& turns;
    const Clock& clock;
    // Whose variants and policy they are, for as long as the request lives; null: they outlive it.
    std::shared_ptr<const Catalog> catalog{};
  };

  // Begins: asks a worker, or ends at once where there is none; a long prompt (kLongPromptBytes)
  // when it is its peer's turn. The wait and all attempts together have half a minute. REQUIRES:
  // rpc::CheckRequest has passed the request.
  static void Start(const Shared& shared, fleet::CallContext context,
                    v1::CountTokensRequest request, std::shared_ptr<CountSink> sink);

 private:
  Counting(const Shared& shared, fleet::CallContext context, v1::CountTokensRequest request,
           std::shared_ptr<CountSink> sink);

  void Begin();
  absl::Status Lease();
  void Ask();
  void OnAnswer(const fleet::WorkerClient::CountResult& result);
  bool TryAnother(const absl::Status& status);
  v1::CountTokensResponse MakeCount(const v1::WorkerCountTokensResponse& answer) const;
  void End(const absl::StatusOr<v1::CountTokensResponse>& count);

  const Shared shared_;
  fleet::CallContext context_;
  const std::shared_ptr<CountSink> sink_;
  v1::WorkerCountTokensRequest request_;  // as every attempt is sent it
  Attempts attempts_;
  std::optional<fleet::WorkerLease> lease_;
  CountTurns::Turn turn_;
};

}  // namespace thinkwire::router
