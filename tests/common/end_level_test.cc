#include "common/end_level.h"

#include <gtest/gtest.h>

namespace thinkwire {
namespace {

TEST(LevelOfEnd, IsLoudWhereItIsOursToMend) {
  using Code = absl::StatusCode;
  for (const Code code : {Code::kOk, Code::kCancelled, Code::kInvalidArgument, Code::kNotFound,
                          Code::kDeadlineExceeded, Code::kUnimplemented}) {
    EXPECT_EQ(LevelOfEnd(code), LogLevel::kInfo) << code;
  }
  for (const Code code : {Code::kUnavailable, Code::kResourceExhausted}) {
    EXPECT_EQ(LevelOfEnd(code), LogLevel::kWarning) << code;
  }
  for (const Code code : {Code::kInternal, Code::kUnknown, Code::kDataLoss}) {
    EXPECT_EQ(LevelOfEnd(code), LogLevel::kError) << code;
  }
}

}  // namespace
}  // namespace thinkwire
