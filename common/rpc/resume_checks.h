#pragma once

#include "absl/status/status.h"

namespace thinkwire::v1 {
class GenerateRequest;
class ResumeState;
}  // namespace thinkwire::v1

namespace thinkwire::rpc {

// Of a state that `request` is to go on from, in a field called "resume", whoever says it: what can
// be said without knowing the variant. What the ids themselves say (phases, ends, text) only the
// worker can check, by replaying them.
// Fails: INVALID_ARGUMENT a value out of its range, a missing or contradictory field.
absl::Status CheckResume(const v1::ResumeState& resume, const v1::GenerateRequest& request);

// Fails: UNIMPLEMENTED a field that is not built yet, by name.
absl::Status CheckBuilt(const v1::ResumeState& resume);

}  // namespace thinkwire::rpc
