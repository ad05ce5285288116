#include "router/router_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

namespace thinkwire::router {

RouterMetrics::RouterMetrics(prometheus::Registry& registry,
                             const std::vector<std::string>& variant_names)
    : requests_(&prometheus::BuildCounter()
                     .Name("thinkwire_router_requests_total")
                     .Help("Generate requests that have ended, by variant and gRPC status")
                     .Register(registry)),
      running_(&prometheus::BuildGauge()
                    .Name("thinkwire_router_running_requests")
                    .Help("Generate requests that have not ended")
                    .Register(registry)
                    .Add({})) {
  auto& tokens = prometheus::BuildCounter()
                     .Name("thinkwire_router_tokens_total")
                     .Help("Tokens of requests, by variant and by what they were")
                     .Register(registry);
  auto& live = prometheus::BuildGauge()
                   .Name("thinkwire_router_live_workers")
                   .Help("Workers that take requests, by variant")
                   .Register(registry);
  for (const std::string& name : variant_names) {
    const auto counter = [&](const char* kind) {
      return &tokens.Add({{"variant", name}, {"kind", kind}});
    };
    tokens_.push_back(
        {name, counter("prompt"), counter("reasoning"), counter("answer"), counter("discarded")});
    live_workers_.push_back(&live.Add({{"variant", name}}));
  }
}

void RouterMetrics::BeginRequest() { running_->Increment(); }

void RouterMetrics::EndRequest(std::string_view variant, std::string_view code,
                               const TokenCounts& tokens) {
  running_->Decrement();
  requests_->Add({{"variant", std::string(variant)}, {"code", std::string(code)}}).Increment();
  for (const Tokens& of : tokens_) {
    if (of.variant != variant) continue;
    of.prompt->Increment(tokens.prompt);
    of.reasoning->Increment(tokens.reasoning);
    of.answer->Increment(tokens.answer);
    of.discarded->Increment(tokens.discarded);
  }
}

void RouterMetrics::SetLiveWorkers(std::size_t variant, std::int32_t workers) {
  live_workers_[variant]->Set(workers);
}

}  // namespace thinkwire::router
