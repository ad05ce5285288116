#pragma once

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {

// How the tokens of a phase are drawn: `both`, the request's `sampling`, but for what `own`, the
// phase's, says otherwise, as GenerateRequest has it: numbers one by one, lists and maps as a
// whole.
v1::PhaseSampling InForce(const v1::PhaseSampling& both, const v1::PhaseSampling& own);

}  // namespace thinkwire::rpc
