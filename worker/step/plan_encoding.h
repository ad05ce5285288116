#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "worker/step/plan.h"

// A plan's way over a wire, to ranks of other processes and hosts. Ranks that are threads of the
// leader's process read the plan itself.
//
// The form: one byte of version, the step, then each of the plan's arrays in the order of its
// fields: their number as a u32, then their fields in order. Numbers are little-endian, floats are
// their bits, bools and phases one byte. Nothing is padded and nothing has two forms, so that equal
// bytes and equal plans are the same. Peers of different versions refuse each other's plans: both
// ends of a group run the same build.
namespace thinkwire::worker::step {

// The first byte of every encoded plan. Raised by whoever changes what follows.
inline constexpr char kPlanVersion = 2;

// REQUIRES: each array has fewer than 2^32 elements.
std::string EncodePlan(const Plan& plan);

// The plan that EncodePlan gave these bytes for. None where they are not exactly one plan: another
// version, too few or too many bytes, or a value that no plan holds (a bool of 2). Takes no more
// memory than some times the bytes, whatever lengths they claim. What the plan asks for is not
// judged: whoever computes it checks it against its limits.
std::optional<Plan> DecodePlan(std::string_view bytes);

}  // namespace thinkwire::worker::step
