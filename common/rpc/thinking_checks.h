#pragma once

#include "absl/status/status.h"

namespace thinkwire::v1 {
class EffectiveOptions;
class GenerateRequest;
}  // namespace thinkwire::v1

namespace thinkwire::rpc {

// How a request, or whoever settled it before, steers the thinking: what can be said without
// knowing the variant. Fails: UNIMPLEMENTED a field that is not built yet, by name;
// INVALID_ARGUMENT a value out of its range, or fields that contradict each other.
absl::Status CheckThinking(const v1::GenerateRequest& request);

// Of resume.effective.
absl::Status CheckEffective(const v1::EffectiveOptions& effective);

}  // namespace thinkwire::rpc
