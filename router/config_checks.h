#pragma once

#include <vector>

#include "absl/status/status.h"
#include "router/variant_config.h"

namespace thinkwire::router {

// Whether no name, alias or worker means two of the variants. Fails: INVALID_ARGUMENT, one sentence
// that names the one that does.
absl::Status CheckUnique(const std::vector<VariantConfig>& variants);

}  // namespace thinkwire::router
