#include "common/metrics.h"

#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/process_metrics.h"

namespace thinkwire {

Metrics::Metrics(const std::string& prefix)
    : prefix_(prefix),
      registry_(std::make_shared<prometheus::Registry>()),
      process_(std::make_shared<ProcessMetrics>(prefix)) {}

Metrics::~Metrics() = default;

void Metrics::AddBuildInfo(std::map<std::string, std::string> labels) {
  labels.emplace("version", THINKWIRE_VERSION);
  prometheus::BuildGauge()
      .Name(prefix_ + "_build_info")
      .Help("What runs here, in labels; always 1")
      .Register(*registry_)
      .Add(labels)
      .Set(1);
}

absl::Status Metrics::Expose(const std::string& listen) {
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(listen);
  } catch (const std::exception&) {  // civetweb says no more than "null context"
    return absl::UnavailableError(absl::StrCat("cannot listen on ", listen, " for metrics"));
  }
  exposer_->RegisterCollectable(registry_);
  exposer_->RegisterCollectable(process_);
  return absl::OkStatus();
}

int Metrics::port() const { return exposer_ ? exposer_->GetListeningPorts().front() : 0; }

}  // namespace thinkwire
