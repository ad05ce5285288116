#include "router/http/door_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include "absl/strings/str_cat.h"

namespace thinkwire::router::http {
namespace {

prometheus::Counter& AddCounter(prometheus::Registry& registry, const char* name,
                                const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

DoorMetrics::DoorMetrics(prometheus::Registry& registry)
    : requests_(&prometheus::BuildCounter()
                     .Name("thinkwire_router_http_requests_total")
                     .Help("Requests of the HTTP door that are over, by endpoint and status; 499: "
                           "the client went before it had one")
                     .Register(registry)),
      connections_(&prometheus::BuildGauge()
                        .Name("thinkwire_router_http_connections")
                        .Help("Open connections of the HTTP door")
                        .Register(registry)
                        .Add({})),
      refused_(&AddCounter(registry, "thinkwire_router_http_connections_refused_total",
                           "Connections of the HTTP door that were reset at once, as there was no "
                           "place for them")),
      displaced_(&AddCounter(registry, "thinkwire_router_http_connections_displaced_total",
                             "Connections of the HTTP door that were shut down to make a place "
                             "for another")) {}

void DoorMetrics::CountRequest(const std::string& endpoint, int status) {
  requests_->Add({{"endpoint", endpoint}, {"status", absl::StrCat(status)}}).Increment();
}

}  // namespace thinkwire::router::http
