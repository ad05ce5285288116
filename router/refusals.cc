#include "router/refusals.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/rpc/status_details.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;

const char* NameOf(admission::Priority priority) {
  switch (priority) {
    case admission::Priority::kLow:
      return "PRIORITY_LOW";
    case admission::Priority::kNormal:
      return "PRIORITY_NORMAL";
    case admission::Priority::kHigh:
      return "PRIORITY_HIGH";
  }
  return "";
}

}  // namespace

absl::Status Draining() {
  return rpc::WithRetryAfter(rpc::Error(Code::kUnavailable, "DRAINING",
                                        "the router is shutting down and takes no new requests"));
}

absl::Status OverLimit(const std::string& tenant, const admission::Refusal& refusal) {
  const bool concurrency = refusal.limit == admission::Refusal::Limit::kConcurrency;
  const std::string what =
      concurrency ? absl::StrCat("has ", refusal.value, " requests here, as many as it may")
                  : absl::StrCat("has used up its ", refusal.value, " tokens a minute here");
  return rpc::WithRetryAfter(
      rpc::Error(Code::kResourceExhausted, concurrency ? "TENANT_CONCURRENCY" : "TENANT_TOKENS",
                 absl::StrCat("tenant ", tenant, " ", what)),
      refusal.retry_after);
}

absl::Status QueueFull(const std::string& variant) {
  return rpc::WithRetryAfter(rpc::WithMetadata(
      rpc::Error(Code::kResourceExhausted, "QUEUE_FULL", "the router's queue has no place for it"),
      "variant", variant));
}

absl::Status DeadlineTooNear(const std::string& variant, double excess_s,
                             Clock::Duration retry_after) {
  const std::string message = absl::StrFormat(
      "the queue is so long that a long answer would come %.1f s after the deadline", excess_s);
  return rpc::WithRetryAfter(
      rpc::WithMetadata(rpc::Error(Code::kResourceExhausted, "DEADLINE_TOO_NEAR", message),
                        "variant", variant),
      retry_after);
}

absl::Status PriorityNotAllowed(const std::string& tenant, admission::Priority highest) {
  return rpc::WithMetadata(
      rpc::Error(Code::kPermissionDenied, "PRIORITY_NOT_ALLOWED",
                 absl::StrCat("tenant ", tenant, " may ask for ", NameOf(highest), " at most")),
      "field", "priority");
}

}  // namespace thinkwire::router
