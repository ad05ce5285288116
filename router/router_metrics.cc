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

}  // namespace

RouterMetrics::RouterMetrics(prometheus::Registry& registry,
                             const std::vector<std::string>& variant_names)
    : requests_(&prometheus::BuildCounter()
                     .Name("thinkwire_router_requests_total")
                     .Help("Generate requests that have ended, by variant, gRPC status and the "
                           "phase they were in: that of the last token, or none")
                     .Register(registry)),
      retries_(&prometheus::BuildCounter()
                    .Name("thinkwire_router_retries_total")
                    .Help("Attempts that had not started and that another worker's followed, by "
                          "variant and the reason of the error")
                    .Register(registry)),
      moves_(&prometheus::BuildCounter()
                  .Name("thinkwire_router_moves_total")
                  .Help("Times that another worker went on with a stream, by variant and the "
                        "reason for which the one before did not")
                  .Register(registry)),
      decisions_(&prometheus::BuildCounter()
                      .Name("thinkwire_router_decisions_total")
                      .Help("Times that a variant was chosen, and the cause: named, substitute, "
                            "only, preferred, score, deadline or context")
                      .Register(registry)),
      running_(&prometheus::BuildGauge()
                    .Name("thinkwire_router_running_requests")
                    .Help("Generate calls that are not over")
                    .Register(registry)
                    .Add({})) {
  auto& configured = prometheus::BuildGauge()
                         .Name("thinkwire_router_configured_workers")
                         .Help("Workers that the configuration names, by variant")
                         .Register(registry);
  auto& live = prometheus::BuildGauge()
                   .Name("thinkwire_router_live_workers")
                   .Help("Workers that take requests, by variant")
                   .Register(registry);
  auto& fingerprints = prometheus::BuildGauge()
                           .Name("thinkwire_router_fingerprints")
                           .Help(
                               "Different fingerprints of live workers, by variant: where there "
                               "are two, equal seeds do not give equal texts")
                           .Register(registry);
  auto& resume_gaps = prometheus::BuildHistogram()
                          .Name("thinkwire_router_resume_gap_seconds")
                          .Help(
                              "Time from the notice that a stream's worker is lost to the next "
                              "token, by variant")
                          .Register(registry);
  auto& poisoned = prometheus::BuildCounter()
                       .Name("thinkwire_router_poisoned_total")
                       .Help(
                           "Streams that were given to no third worker, as they were running on "
                           "two in a row when each was lost, by variant")
                       .Register(registry);
  for (const std::string& name : variant_names) {
    const StreamMetrics::Labels labels = {{"variant", name}};
    streams_.emplace_back(registry, "thinkwire_router", labels);
    configured_workers_.push_back(&configured.Add(labels));
    live_workers_.push_back(&live.Add(labels));
    fingerprints_.push_back(&fingerprints.Add(labels));
    resume_gaps_.push_back(&resume_gaps.Add(labels, kResumeGaps));
    poisoned_.push_back(&poisoned.Add(labels));
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

void RouterMetrics::CountDecision(std::string_view variant, std::string_view cause) {
  decisions_->Add({{"variant", std::string(variant)}, {"cause", std::string(cause)}}).Increment();
}

void RouterMetrics::CountRetry(std::string_view variant, std::string_view reason) {
  retries_->Add({{"variant", std::string(variant)}, {"reason", std::string(reason)}}).Increment();
}

void RouterMetrics::CountMove(std::string_view variant, std::string_view reason) {
  moves_->Add({{"variant", std::string(variant)}, {"reason", std::string(reason)}}).Increment();
}

void RouterMetrics::ObserveResumeGap(std::size_t variant, double seconds) {
  resume_gaps_[variant]->Observe(seconds);
}

void RouterMetrics::CountPoisoned(std::size_t variant) { poisoned_[variant]->Increment(); }

void RouterMetrics::SetFingerprints(std::size_t variant, std::size_t fingerprints) {
  fingerprints_[variant]->Set(static_cast<double>(fingerprints));
}

void RouterMetrics::SetWorkers(std::size_t variant, std::int32_t configured, std::int32_t live) {
  configured_workers_[variant]->Set(configured);
  live_workers_[variant]->Set(live);
}

}  // namespace thinkwire::router
