#include "common/rpc/proto_time.h"

#include <google/protobuf/duration.pb.h>

#include <chrono>
#include <cstdint>

namespace thinkwire::rpc {

using std::chrono::nanoseconds;
using std::chrono::seconds;

void SetDuration(Clock::Duration duration, google::protobuf::Duration* out) {
  const std::int64_t nanos = std::chrono::duration_cast<nanoseconds>(duration).count();
  out->set_seconds(nanos / 1'000'000'000);
  out->set_nanos(static_cast<std::int32_t>(nanos % 1'000'000'000));
}

Clock::Duration ReadDuration(const google::protobuf::Duration& duration) {
  // `nanos` is at most 2.2 s, so that 3 s less than the longest leave room for it.
  constexpr seconds kLongest =
      std::chrono::duration_cast<seconds>(Clock::Duration::max()) - seconds(3);
  if (duration.seconds() > kLongest.count()) return Clock::Duration::max();
  if (duration.seconds() < -kLongest.count()) return Clock::Duration::min();
  return std::chrono::duration_cast<Clock::Duration>(seconds(duration.seconds()) +
                                                     nanoseconds(duration.nanos()));
}

}  // namespace thinkwire::rpc
