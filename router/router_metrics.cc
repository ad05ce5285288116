#include "router/router_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace thinkwire::router {
namespace {

// Seconds: from a worker nearby that has the prompt cached, to a wait for one that starts.
const prometheus::Histogram::BucketBoundaries kResumeGaps = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                             1,    2.5,   5,    10,  20,   60};

// Seconds: from the next place of a busy worker, to a queue of minutes.
const prometheus::Histogram::BucketBoundaries kWaits = {0.01, 0.05, 0.1, 0.5, 1,   2.5,
                                                        5,    10,   30,  60,  300, 1800};

prometheus::Family<prometheus::Counter>& AddCounters(prometheus::Registry& registry,
                                                     const std::string& name,
                                                     const std::string& help) {
  return prometheus::BuildCounter().Name("thinkwire_router_" + name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Gauge>& AddGauges(prometheus::Registry& registry,
                                                 const std::string& name, const std::string& help) {
  return prometheus::BuildGauge().Name("thinkwire_router_" + name).Help(help).Register(registry);
}

}  // namespace

RouterMetrics::RouterMetrics(prometheus::Registry& registry,
                             const std::vector<std::string>& variant_names)
    : requests_(&AddCounters(registry, "requests_total",
                             "Generate requests that have ended, by variant, gRPC status and the "
                             "phase they were in: that of the last token, or none")),
      retries_(&AddCounters(registry, "retries_total",
                            "Attempts that had not started and that another worker's followed, by "
                            "variant and the reason of the error")),
      moves_(&AddCounters(registry, "moves_total",
                          "Times that another worker went on with a stream, by variant and the "
                          "reason for which the one before did not")),
      votes_(&AddCounters(registry, "votes_total",
                          "Requests with a consensus that had started and have ended, by variant "
                          "and outcome: agreement (the share that was asked for was reached), "
                          "certain (the rest could not change the winner), all (every output had "
                          "ended), no_answer (none had one) or unfinished (it ended otherwise)")),
      voters_(&AddCounters(registry, "voters_total",
                           "Outputs of votes that came to an end, by variant and what became of "
                           "them: winner, agreed, differed, no_answer or not_needed")),
      held_bytes_(&AddGauges(registry, "held_bytes",
                             "Bytes of outputs that are held back until they have voted")
                       .Add({})),
      escalations_(&AddCounters(registry, "escalations_total",
                                "Times that reasoning came to no answer and another variant might "
                                "begin anew, by the variant that was left, the cause (loop or "
                                "length) and the outcome: restarted, or stayed where none of the "
                                "better variant's workers had a place")),
      decisions_(&AddCounters(registry, "decisions_total",
                              "Times that a variant was chosen, and the cause: named, substitute, "
                              "only, preferred, score, deadline or context")),
      prefixes_(&AddCounters(registry, "prefixes_total",
                             "Requests that a worker has begun with, by variant and what was known "
                             "of their prompt's beginning: hit (the worker was believed to have "
                             "it, and had), miss (it had not), elsewhere (another was believed to, "
                             "but was busier) or unknown")),
      tenant_requests_(&AddCounters(registry, "tenant_requests_total",
                                    "Generate requests that have ended, by tenant and gRPC "
                                    "status")),
      tenant_tokens_(&AddCounters(registry, "tenant_tokens_total",
                                  "Tokens of requests that have ended, by tenant and kind, as in "
                                  "thinkwire_router_tokens_total")),
      unauthenticated_(&AddCounters(registry, "unauthenticated_calls_total",
                                    "Calls that were refused with UNAUTHENTICATED, by reason")),
      refusals_(&AddCounters(registry, "refusals_total",
                             "Generate requests that the router itself refused, by reason")),
      tenant_waits_(&AddCounters(registry, "tenant_wait_seconds_total",
                                 "Time that requests have waited in the router for a place, by "
                                 "tenant")),
      waiting_(&prometheus::BuildGauge()
                    .Name("thinkwire_router_waiting_requests")
                    .Help("Requests that wait in the router for a place on a worker, by variant")
                    .Register(registry)),
      waits_(&prometheus::BuildHistogram()
                  .Name("thinkwire_router_wait_seconds")
                  .Help("Time that a request has waited in the router for a place, by variant and "
                        "priority; those that found one at once are not counted")
                  .Register(registry)),
      running_(&prometheus::BuildGauge()
                    .Name("thinkwire_router_running_requests")
                    .Help("Generate calls that are not over")
                    .Register(registry)
                    .Add({})),
      configured_workers_(&AddGauges(registry, "configured_workers",
                                     "Workers that the configuration names, by variant")),
      live_workers_(&AddGauges(registry, "live_workers", "Workers that take requests, by variant")),
      ejected_workers_(&AddGauges(registry, "ejected_workers",
                                  "Workers that speak and get no requests, as they have failed or "
                                  "hung and not answered a probe since, by variant")),
      fingerprints_(&AddGauges(registry, "fingerprints",
                               "Different fingerprints of live workers, by variant: where there "
                               "are two, equal seeds do not give equal texts")),
      resume_gaps_(&prometheus::BuildHistogram()
                        .Name("thinkwire_router_resume_gap_seconds")
                        .Help("Time from the notice that a stream's worker is lost to the next "
                              "token, by variant")
                        .Register(registry)),
      poisoned_(&AddCounters(registry, "poisoned_total",
                             "Streams that were given to no third worker, as they were running "
                             "on two in a row when each failed, by variant")),
      config_reloads_(&AddCounters(registry, "config_reloads_total",
                                   "Times that the configuration was read again and taken")
                           .Add({})),
      config_failures_(&AddCounters(registry, "config_failures_total",
                                    "Times that the configuration could not be read again, so that "
                                    "the one before stayed")
                            .Add({})),
      config_is_well_(&AddGauges(registry, "config_last_reload_successful",
                                 "Whether the latest reading of the configuration was taken: 1, "
                                 "else 0")
                           .Add({})),
      config_read_at_(&AddGauges(registry, "config_last_reload_success_timestamp_seconds",
                                 "When the configuration that is in force was read")
                           .Add({})),
      registry_(registry) {
  // From zero on, so that the first is seen to come.
  for (const char* reason :
       {"DEADLINE_TOO_NEAR", "DRAINING", "QUEUE_FULL", "TENANT_CONCURRENCY", "TENANT_TOKENS"}) {
    refusals_->Add({{"reason", reason}});
  }
  AddVariants(variant_names);
}

void RouterMetrics::AddVariants(const std::vector<std::string>& variant_names) {
  MutexLock lock(mu_);
  for (std::size_t v = variants_.size(); v < variant_names.size(); ++v) Add(variant_names[v]);
}

void RouterMetrics::Add(const std::string& variant_name) {
  const StreamMetrics::Labels labels = {{"variant", variant_name}};
  variants_.push_back({.streams = StreamMetrics(registry_, "thinkwire_router", labels),
                       .resume_gap = &resume_gaps_->Add(labels, kResumeGaps),
                       .poisoned = &poisoned_->Add(labels),
                       .labels = labels});
  waiting_->Add(labels);
  // From zero on, so that an alert sees the first come.
  for (const char* reason : {"WORKER_LOST", "WORKER_SILENT"}) {
    moves_->Add({{"variant", variant_name}, {"reason", reason}});
  }
  for (const char* cause : {"loop", "length"}) {
    escalations_->Add({{"variant", variant_name}, {"cause", cause}, {"outcome", "restarted"}});
  }
}

void RouterMetrics::BeginCall() { running_->Increment(); }

void RouterMetrics::EndCall() { running_->Decrement(); }

void RouterMetrics::EndRequest(std::string_view variant, std::string_view code, StreamPhase phase) {
  requests_
      ->Add({{"variant", std::string(variant)},
             {"code", std::string(code)},
             {"phase", std::string(ToString(phase))}})
      .Increment();
}

void RouterMetrics::CountTenant(const std::string& tenant, const std::string& code,
                                const TokenCounts& tokens) {
  if (tenant.empty()) return;
  tenant_requests_->Add({{"tenant", tenant}, {"code", code}}).Increment();
  const auto count = [&](const char* kind, std::int32_t number) {
    tenant_tokens_->Add({{"tenant", tenant}, {"kind", kind}}).Increment(number);
  };
  count("prompt", tokens.prompt);
  count("cached_prompt", tokens.cached_prompt);
  count("reasoning", tokens.reasoning);
  count("answer", tokens.answer);
  count("discarded", tokens.discarded);
}

void RouterMetrics::CountUnauthenticated(const std::string& reason) {
  unauthenticated_->Add({{"reason", reason}}).Increment();
}

void RouterMetrics::CountDecision(std::string_view variant, std::string_view cause) {
  decisions_->Add({{"variant", std::string(variant)}, {"cause", std::string(cause)}}).Increment();
}

void RouterMetrics::CountVote(std::string_view variant, std::string_view outcome) {
  votes_->Add({{"variant", std::string(variant)}, {"outcome", std::string(outcome)}}).Increment();
}

void RouterMetrics::CountVoter(std::string_view variant, std::string_view fate) {
  voters_->Add({{"variant", std::string(variant)}, {"fate", std::string(fate)}}).Increment();
}

void RouterMetrics::AddHeld(std::int64_t bytes) {
  held_bytes_->Increment(static_cast<double>(bytes));
}

void RouterMetrics::CountPrefix(std::string_view variant, std::string_view use) {
  prefixes_->Add({{"variant", std::string(variant)}, {"use", std::string(use)}}).Increment();
}

void RouterMetrics::CountRetry(std::string_view variant, std::string_view reason) {
  retries_->Add({{"variant", std::string(variant)}, {"reason", std::string(reason)}}).Increment();
}

void RouterMetrics::BeginWait(const std::string& variant) {
  waiting_->Add({{"variant", variant}}).Increment();
}

void RouterMetrics::EndWait(const std::string& variant, const std::string& tenant,
                            std::string_view priority, double seconds) {
  waiting_->Add({{"variant", variant}}).Decrement();
  waits_->Add({{"variant", variant}, {"priority", std::string(priority)}}, kWaits).Observe(seconds);
  if (!tenant.empty()) tenant_waits_->Add({{"tenant", tenant}}).Increment(seconds);
}

void RouterMetrics::CountRefusal(const std::string& reason) {
  refusals_->Add({{"reason", reason}}).Increment();
}

void RouterMetrics::CountMove(std::string_view variant, std::string_view reason) {
  moves_->Add({{"variant", std::string(variant)}, {"reason", std::string(reason)}}).Increment();
}

void RouterMetrics::ObserveResumeGap(std::size_t variant, double seconds) {
  of(variant).resume_gap->Observe(seconds);
}

void RouterMetrics::CountEscalation(std::string_view variant, std::string_view cause,
                                    bool restarted) {
  escalations_
      ->Add({{"variant", std::string(variant)},
             {"cause", std::string(cause)},
             {"outcome", restarted ? "restarted" : "stayed"}})
      .Increment();
}

void RouterMetrics::CountPoisoned(std::size_t variant) { of(variant).poisoned->Increment(); }

void RouterMetrics::SetWorkers(std::size_t variant, std::int32_t configured, std::int32_t live,
                               std::int32_t out, std::size_t fingerprints) {
  MutexLock lock(mu_);
  OfVariant& of = variants_[variant];
  if (of.workers.configured == nullptr) {
    of.workers = {.configured = &configured_workers_->Add(of.labels),
                  .live = &live_workers_->Add(of.labels),
                  .out = &ejected_workers_->Add(of.labels),
                  .fingerprints = &fingerprints_->Add(of.labels)};
  }
  of.workers.configured->Set(configured);
  of.workers.live->Set(live);
  of.workers.out->Set(out);
  of.workers.fingerprints->Set(static_cast<double>(fingerprints));
}

void RouterMetrics::ForgetWorkers(std::size_t variant) {
  MutexLock lock(mu_);
  WorkerGauges& workers = variants_[variant].workers;
  if (workers.configured == nullptr) return;
  configured_workers_->Remove(workers.configured);
  live_workers_->Remove(workers.live);
  ejected_workers_->Remove(workers.out);
  fingerprints_->Remove(workers.fingerprints);
  workers = {};
}

void RouterMetrics::SucceedConfig(double unix_s) {
  if (config_read_at_->Value() > 0) config_reloads_->Increment();
  config_is_well_->Set(1);
  config_read_at_->Set(unix_s);
}

void RouterMetrics::FailConfig() {
  config_failures_->Increment();
  config_is_well_->Set(0);
}

}  // namespace thinkwire::router
