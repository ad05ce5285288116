#pragma once

#include "common/clock.h"

namespace google::protobuf {
class Duration;
}  // namespace google::protobuf

namespace thinkwire::rpc {

// Writes `duration` as a google.protobuf.Duration: both parts have its sign.
void SetDuration(Clock::Duration duration, google::protobuf::Duration* out);

// Reads one that anybody may have sent: what is longer than a Clock::Duration can be (292 years)
// is the longest one of its sign, and parts of different signs are added.
Clock::Duration ReadDuration(const google::protobuf::Duration& duration);

}  // namespace thinkwire::rpc
