#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/mutex.h"
#include "common/stream_metrics.h"

namespace prometheus {
class Counter;
template <class T>
class Family;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace thinkwire::router {

// The router's metrics, thinkwire_router_*. Threads: any.
class RouterMetrics {
 public:
  // `registry` owns the metrics and must outlive this.
  RouterMetrics(prometheus::Registry& registry, const std::vector<std::string>& variant_names);

  // Variants have these names from now on, by index; the earlier ones keep theirs.
  void AddVariants(const std::vector<std::string>& variant_names);

  // For the StreamMeter of each request that goes to the variant.
  StreamMetrics& streams(std::size_t variant) { return of(variant).streams; }

  // A Generate call, from its message to its very end, when its client has read the status.
  void BeginCall();
  void EndCall();
  // `code` is the gRPC status code's name, `phase` where the request was; `variant` is empty where
  // none was chosen.
  void EndRequest(std::string_view variant, std::string_view code, StreamPhase phase);

  // The same by tenant, and what it has taken; none: no effect. Tenants are those of a file, so
  // that they are few.
  void CountTenant(const std::string& tenant, const std::string& code, const TokenCounts& tokens);

  // A call was refused with UNAUTHENTICATED, for a reason of Callers.
  void CountUnauthenticated(const std::string& reason);

  // A request went to the variant, for a cause of decision::CauseName.
  void CountDecision(std::string_view variant, std::string_view cause);

  // A worker has begun with a request's prompt, of which `use` was made of decision::PrefixUse.
  void CountPrefix(std::string_view variant, std::string_view use);

  // A request that had not started went to another worker, after an error of `reason`.
  void CountRetry(std::string_view variant, std::string_view reason);

  // A request waits in the router for a place at the variant, and then no more, after so long.
  void BeginWait(const std::string& variant);
  void EndWait(const std::string& variant, const std::string& tenant, std::string_view priority,
               double seconds);
  // A request was refused by the router itself, for a reason of its own.
  void CountRefusal(const std::string& reason);

  // Another worker goes on with a stream, after an error of `reason`; it brought its first token so
  // many seconds after the loss was noticed; a stream is given to no other worker, as poison.
  void CountMove(std::string_view variant, std::string_view reason);
  void ObserveResumeGap(std::size_t variant, double seconds);
  void CountPoisoned(std::size_t variant);

  // The outputs of a request voted, with an outcome of Voting, or "unfinished"; and what became of
  // one of them, a fate of Voting.
  void CountVote(std::string_view variant, std::string_view outcome);
  void CountVoter(std::string_view variant, std::string_view fate);
  // So many more bytes of outputs are held back until they have voted, or so many fewer.
  void AddHeld(std::int64_t bytes);
  // The reasoning of a request at the variant came to no answer, for a `cause` of two ("loop",
  // "length"): whether it has begun anew at a better one, or goes on where it was.
  void CountEscalation(std::string_view variant, std::string_view cause, bool restarted);

  // `fingerprints`: how many different ones its live workers have.
  void SetWorkers(std::size_t variant, std::int32_t configured, std::int32_t live, std::int32_t out,
                  std::size_t fingerprints);
  // It is configured no more: nothing is said of its workers until SetWorkers. What was counted
  // stays.
  void ForgetWorkers(std::size_t variant);

  // The configuration was read, at the start or again, at `unix_s` by the wall clock; or it could
  // not be, and the one before stays.
  void SucceedConfig(double unix_s);
  void FailConfig();

 private:
  // How its workers do; null: it is not configured.
  struct WorkerGauges {
    prometheus::Gauge* configured = nullptr;
    prometheus::Gauge* live = nullptr;
    prometheus::Gauge* out = nullptr;
    prometheus::Gauge* fingerprints = nullptr;
  };
  struct OfVariant {
    StreamMetrics streams;
    prometheus::Histogram* resume_gap;
    prometheus::Counter* poisoned;
    std::map<std::string, std::string> labels;
    WorkerGauges workers{};
  };

  void Add(const std::string& variant_name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Where it is stays its own.
  OfVariant& of(std::size_t variant) {
    MutexLock lock(mu_);
    return variants_[variant];
  }

  prometheus::Family<prometheus::Counter>* requests_;
  prometheus::Family<prometheus::Counter>* retries_;
  prometheus::Family<prometheus::Counter>* moves_;
  prometheus::Family<prometheus::Counter>* votes_;
  prometheus::Family<prometheus::Counter>* voters_;
  prometheus::Gauge* held_bytes_;
  prometheus::Family<prometheus::Counter>* escalations_;
  prometheus::Family<prometheus::Counter>* decisions_;
  prometheus::Family<prometheus::Counter>* prefixes_;
  prometheus::Family<prometheus::Counter>* tenant_requests_;
  prometheus::Family<prometheus::Counter>* tenant_tokens_;
  prometheus::Family<prometheus::Counter>* unauthenticated_;
  prometheus::Family<prometheus::Counter>* refusals_;
  prometheus::Family<prometheus::Counter>* tenant_waits_;
  prometheus::Family<prometheus::Gauge>* waiting_;
  prometheus::Family<prometheus::Histogram>* waits_;
  prometheus::Gauge* running_;
  prometheus::Family<prometheus::Gauge>* configured_workers_;
  prometheus::Family<prometheus::Gauge>* live_workers_;
  prometheus::Family<prometheus::Gauge>* ejected_workers_;
  prometheus::Family<prometheus::Gauge>* fingerprints_;
  prometheus::Family<prometheus::Histogram>* resume_gaps_;
  prometheus::Family<prometheus::Counter>* poisoned_;
  prometheus::Counter* config_reloads_;
  prometheus::Counter* config_failures_;
  prometheus::Gauge* config_is_well_;
  prometheus::Gauge* config_read_at_;

  prometheus::Registry& registry_;
  Mutex mu_;
  std::deque<OfVariant> variants_ ABSL_GUARDED_BY(mu_);  // by index
};

}  // namespace thinkwire::router
