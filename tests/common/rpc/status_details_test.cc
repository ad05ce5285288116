#include "common/rpc/status_details.h"

#include <gtest/gtest.h>

#include <chrono>
#include <utility>

#include "common/rpc/error_metadata.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace thinkwire::rpc {
namespace {

TEST(StatusDetails, InvalidFieldNamesTheFieldToPeopleAndPrograms) {
  const absl::Status status = InvalidField("max_tokens", "must be at least 1, is 0");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "max_tokens must be at least 1, is 0");
  EXPECT_EQ(ErrorReason(status), "INVALID_FIELD");
  EXPECT_EQ(ErrorMetadata(status, "field"), "max_tokens");

  google::rpc::Status wire;
  ASSERT_TRUE(wire.ParseFromString(ToGrpc(status).error_details()));
  bool found = false;
  for (const auto& any : wire.details()) {
    google::rpc::BadRequest bad_request;
    if (!any.UnpackTo(&bad_request)) continue;
    found = true;
    ASSERT_EQ(bad_request.field_violations_size(), 1);
    EXPECT_EQ(bad_request.field_violations(0).field(), "max_tokens");
  }
  EXPECT_TRUE(found);
}

TEST(StatusDetails, SurvivesTheWire) {
  absl::Status status =
      WithMetadata(Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", "the queue is full"),
                   "max_queue", "64");
  status = WithRetryAfter(std::move(status), std::chrono::milliseconds(1500));
  const absl::Status back = FromGrpc(ToGrpc(status));
  EXPECT_EQ(back, status);
  EXPECT_EQ(ErrorReason(back), "QUEUE_FULL");
  EXPECT_EQ(ErrorMetadata(back, "max_queue"), "64");
  EXPECT_EQ(RetryAfter(back), std::chrono::milliseconds(1500));
}

TEST(StatusDetails, WhatPassesOfAPeersErrorSaysWhichFieldAndHowLongAContext) {
  absl::Status status = InvalidField("prompt.text", "is too long");
  status = WithMetadata(std::move(status), kContextTokens, "4096");
  status = WithMetadata(std::move(status), "of_its_own", "secret");
  const absl::Status trimmed = Trimmed(status);
  EXPECT_EQ(ErrorReason(trimmed), "INVALID_FIELD");
  EXPECT_EQ(ErrorMetadata(trimmed, "field"), "prompt.text");
  EXPECT_EQ(ErrorMetadata(trimmed, kContextTokens), "4096");
  EXPECT_EQ(ErrorMetadata(trimmed, "of_its_own"), "");
}

TEST(StatusDetails, EveryErrorLeavesWithAnErrorInfo) {
  const absl::Status back = FromGrpc(ToGrpc(absl::InternalError("a bug")));
  EXPECT_EQ(back.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(back.message(), "a bug");
  EXPECT_EQ(ErrorReason(back), "INTERNAL");
  EXPECT_TRUE(FromGrpc(ToGrpc(absl::OkStatus())).ok());
}

TEST(StatusDetails, NothingOutgrowsTheHeaders) {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "\u4f60";
  const absl::Status status =
      WithMetadata(Error(absl::StatusCode::kInternal, "X", text), "blob", std::string(9000, 'x'));
  const grpc::Status wire = ToGrpc(status);
  EXPECT_LT(wire.error_message().size(), 1100u);
  EXPECT_LT(wire.error_details().size(), 4000u);
  EXPECT_EQ(wire.error_message().substr(wire.error_message().size() - 6), "\u4f60...");
}

TEST(StatusDetails, TextsOfOthersAreCutAtCodePoints) {
  std::string name = "a";
  for (int i = 0; i < 1000; ++i) name += "\u00e9";
  for (const absl::Status& status :
       {WithMetadata(Error(absl::StatusCode::kNotFound, "VARIANT_NOT_FOUND", "no"), "variant",
                     name),
        InvalidField("variant", name), InvalidField(name + "\xff", "is wrong")}) {
    google::rpc::Status wire;
    ASSERT_TRUE(wire.ParseFromString(ToGrpc(status).error_details()));
    EXPECT_NE(ErrorReason(FromGrpc(ToGrpc(status))), "");
    EXPECT_LT(wire.ByteSizeLong(), 4000u);
    for (const auto& any : wire.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::BadRequest bad_request;
      EXPECT_TRUE(any.UnpackTo(&info) || any.UnpackTo(&bad_request));
    }
  }
}

TEST(StatusDetails, AStatusOfAnotherServerKeepsItsCode) {
  const absl::Status status =
      FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "Connection reset by peer"));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrorReason(status), "");
  EXPECT_EQ(RetryAfter(status), std::nullopt);
}

}  // namespace
}  // namespace thinkwire::rpc
