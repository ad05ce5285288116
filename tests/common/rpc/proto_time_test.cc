#include "common/rpc/proto_time.h"

#include <google/protobuf/duration.pb.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>

namespace thinkwire::rpc {
namespace {

using std::chrono::nanoseconds;

google::protobuf::Duration Proto(std::int64_t seconds, std::int32_t nanos) {
  google::protobuf::Duration duration;
  duration.set_seconds(seconds);
  duration.set_nanos(nanos);
  return duration;
}

TEST(ProtoTime, BothPartsHaveTheSignOfTheDuration) {
  google::protobuf::Duration out;
  SetDuration(nanoseconds(1'500'000'001), &out);
  EXPECT_EQ(out.seconds(), 1);
  EXPECT_EQ(out.nanos(), 500'000'001);
  SetDuration(nanoseconds(-1'500'000'001), &out);
  EXPECT_EQ(out.seconds(), -1);
  EXPECT_EQ(out.nanos(), -500'000'001);
}

TEST(ProtoTime, ReadsWhatItWrote) {
  for (const Clock::Duration duration :
       {Clock::Duration::zero(), Clock::Duration(1), Clock::Duration(-1),
        Clock::Duration(std::chrono::hours(24 * 365)), Clock::Duration(nanoseconds(-7'000'000'009)),
        Clock::Duration::max() - Clock::Duration(std::chrono::seconds(4))}) {
    google::protobuf::Duration out;
    SetDuration(duration, &out);
    EXPECT_EQ(ReadDuration(out), duration);
  }
}

TEST(ProtoTime, TooLongOnesAreTheLongest) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(ReadDuration(Proto(kMost, 0)), Clock::Duration::max());
  EXPECT_EQ(ReadDuration(Proto(-kMost, 0)), Clock::Duration::min());
  EXPECT_EQ(ReadDuration(Proto(315'576'000'000, 999'999'999)), Clock::Duration::max());
}

}  // namespace
}  // namespace thinkwire::rpc
