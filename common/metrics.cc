#include "common/metrics.h"

#include <prometheus/exposer.h>
#include <prometheus/registry.h>

#include <exception>

#include "absl/strings/str_cat.h"

namespace thinkwire {

Metrics::Metrics() : registry_(std::make_shared<prometheus::Registry>()) {}

Metrics::~Metrics() = default;

absl::Status Metrics::Expose(const std::string& listen) {
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(listen);
  } catch (const std::exception&) {  // civetweb says no more than "null context"
    return absl::UnavailableError(absl::StrCat("cannot listen on ", listen, " for metrics"));
  }
  exposer_->RegisterCollectable(registry_);
  return absl::OkStatus();
}

int Metrics::port() const { return exposer_ ? exposer_->GetListeningPorts().front() : 0; }

}  // namespace thinkwire
