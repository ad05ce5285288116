#include "common/status.h"

#include <gtest/gtest.h>

#include "absl/strings/cord.h"

namespace thinkwire {
namespace {

absl::StatusOr<int> Half(int n) {
  if (n % 2 != 0) return absl::InvalidArgumentError("odd");
  return n / 2;
}

absl::StatusOr<int> Quarter(int n) {
  ASSIGN_OR_RETURN(const int half, Half(n));
  return Half(half);
}

absl::Status CheckQuarter(int n) {
  RETURN_IF_ERROR(Quarter(n).status());
  return absl::OkStatus();
}

TEST(Status, AssignOrReturnTakesTheValueOrPassesTheErrorOn) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(3).status(), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(Quarter(6).status(), absl::InvalidArgumentError("odd"));
}

TEST(Status, ReturnIfErrorStopsAtTheError) {
  EXPECT_TRUE(CheckQuarter(4).ok());
  EXPECT_EQ(CheckQuarter(2).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Status, AnnotateKeepsCodeAndPayloads) {
  absl::Status status = absl::NotFoundError("no such key");
  status.SetPayload("url", absl::Cord("detail"));
  const absl::Status annotated = Annotate(status, "router.yaml");
  EXPECT_EQ(annotated.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(annotated.message(), "router.yaml: no such key");
  EXPECT_EQ(annotated.GetPayload("url"), absl::Cord("detail"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "router.yaml").ok());
}

}  // namespace
}  // namespace thinkwire
