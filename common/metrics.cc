#include "common/metrics.h"

#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "common/process_metrics.h"

namespace thinkwire {

Metrics::Metrics(const std::string& prefix)
    : prefix_(prefix),
      registry_(std::make_unique<prometheus::Registry>()),
      process_(std::make_unique<ProcessMetrics>(prefix)) {}

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

std::string Metrics::Page() const {
  std::vector<prometheus::MetricFamily> families = registry_->Collect();
  std::ranges::move(process_->Collect(), std::back_inserter(families));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace thinkwire
