#include "router/fleet/worker_errors.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rpc/status_details.h"
#include "common/utf8.h"

namespace thinkwire::router::fleet {
namespace {

constexpr std::size_t kMaxShownBytes = 512;

// The reasons that Generate and CountTokens of a worker may end with.
struct Known {
  std::string_view reason;
  absl::StatusCode code;
};
constexpr Known kKnown[] = {
    {"DRAINING", absl::StatusCode::kUnavailable},
    {"SHUTTING_DOWN", absl::StatusCode::kUnavailable},
    {"QUEUE_FULL", absl::StatusCode::kResourceExhausted},
    {"TOO_MANY_REQUEST_BYTES", absl::StatusCode::kResourceExhausted},
    {"TOO_MANY_CALLS", absl::StatusCode::kResourceExhausted},
    {"MESSAGE_TOO_LARGE", absl::StatusCode::kResourceExhausted},
    {"SLOW_CONSUMER", absl::StatusCode::kResourceExhausted},
    {"DEADLINE_EXCEEDED", absl::StatusCode::kDeadlineExceeded},
    {"DEADLINE_TOO_SOON", absl::StatusCode::kDeadlineExceeded},
    {"NOT_FINITE", absl::StatusCode::kInternal},
    {"INVALID_FIELD", absl::StatusCode::kInvalidArgument},
    {"MALFORMED_REQUEST", absl::StatusCode::kInvalidArgument},
    {"FIELD_NOT_IMPLEMENTED", absl::StatusCode::kUnimplemented},
    {"UNKNOWN_FIELD", absl::StatusCode::kUnimplemented},
    {"UNKNOWN_ENUM_VALUE", absl::StatusCode::kUnimplemented},
    {"FINGERPRINT_MISMATCH", absl::StatusCode::kFailedPrecondition},
    {"PROMPT_DIFFERS", absl::StatusCode::kFailedPrecondition},
};

bool IsKnown(const absl::Status& status) {
  return rpc::IsOurError(status) &&
         std::ranges::any_of(kKnown, [&, reason = rpc::ErrorReason(status)](const Known& known) {
           return known.reason == reason && known.code == status.code();
         });
}

absl::Status AboutWorker(absl::StatusCode code, const char* reason, const std::string& worker,
                         const char* what) {
  return rpc::WithMetadata(rpc::Error(code, reason, absl::StrCat("the worker ", worker, " ", what)),
                           "worker", worker);
}

void LogError(const absl::Status& status, const std::string& worker) {
  LogWarning("a worker's error",
             {{"worker", worker},
              {"code", absl::StatusCodeToString(status.code())},
              {"reason", CutText(rpc::ErrorReason(status), kMaxShownBytes)},
              {"text", CutText(std::string(status.message()), kMaxShownBytes)}});
}

}  // namespace

absl::Status ForClient(const absl::Status& status, const std::string& worker) {
  if (IsKnown(status)) return rpc::Trimmed(status);
  LogError(status, worker);
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:  // ours end in OnEnd's caller, not here
      return rpc::WithRetryAfter(
          AboutWorker(absl::StatusCode::kUnavailable, kWorkerLost, worker, "was lost"));
    case absl::StatusCode::kDeadlineExceeded:
      return rpc::Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
                        "the deadline has passed");
    case absl::StatusCode::kResourceExhausted:
      return rpc::WithRetryAfter(
          AboutWorker(status.code(), "WORKER_LIMIT", worker, "has met a limit of its own"));
    default:  // a server that is no worker, or of another version
      return AboutWorker(absl::StatusCode::kInternal, kWorkerProtocol, worker,
                         "ended the call with an error that is none of a worker's");
  }
}

absl::Status ProtocolError(const std::string& worker, const std::string& what) {
  LogWarning("a worker broke the contract",
             {{"worker", worker}, {"what", CutText(what, kMaxShownBytes)}});
  return AboutWorker(absl::StatusCode::kInternal, kWorkerProtocol, worker,
                     "broke the contract of its stream");
}

absl::Status SilentError(const std::string& worker, const std::string& did) {
  LogWarning("a worker is given up", {{"worker", worker}, {"as_it", did}});
  return rpc::WithRetryAfter(AboutWorker(absl::StatusCode::kUnavailable, kWorkerSilent, worker,
                                         "was silent for too long"));
}

absl::Status CrowdedError(const std::string& worker) {
  LogWarning("a stream stands still", {{"worker", worker}});
  return rpc::WithRetryAfter(
      AboutWorker(absl::StatusCode::kUnavailable, kWorkerCrowded, worker, "had no room to go on"));
}

}  // namespace thinkwire::router::fleet
