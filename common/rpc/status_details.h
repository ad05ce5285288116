#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/clock.h"

namespace thinkwire::rpc {

// Errors carry google.rpc details as payloads of their absl::Status, and leave the process through
// ToGrpc alone. ErrorInfo's domain is always "thinkwire".

// `code` with an ErrorInfo of `reason` (UPPER_SNAKE_CASE, for programs).
absl::Status Error(absl::StatusCode code, std::string_view reason, std::string_view message);

// INVALID_ARGUMENT, reason INVALID_FIELD: "prompt.chat.messages must not be empty" for field
// "prompt.chat.messages" and why "must not be empty". BadRequest names the field.
absl::Status InvalidField(std::string_view field, std::string_view why);

// UNIMPLEMENTED, reason FIELD_NOT_IMPLEMENTED, the field in the metadata.
absl::Status UnimplementedField(std::string_view field);

// `status`, which must be an error, with one more entry in its ErrorInfo's metadata; `value` is cut
// at 256 bytes.
absl::Status WithMetadata(absl::Status status, std::string_view key, std::string_view value);

// What a caller that meets a full queue, or no worker, should wait before it asks again.
inline constexpr Clock::Duration kRetryAfter = std::chrono::seconds(1);

// `status`, which must be an error, with a RetryInfo: try again after `delay`.
absl::Status WithRetryAfter(absl::Status status, Clock::Duration delay = kRetryAfter);

// What an error carries; empty where it does not.
std::string ErrorReason(const absl::Status& status);
std::string ErrorMetadata(const absl::Status& status, std::string_view key);
std::optional<Clock::Duration> RetryAfter(const absl::Status& status);

// Whether an error carries an ErrorInfo of our domain: a peer says that it is one of ours.
bool IsOurError(const absl::Status& status);

// What is left of a peer's error when it is held to our rules, so that it can be told as ours:
// reason, the metadata "field", BadRequest, and a RetryInfo of at most a minute. Texts are valid
// UTF-8 on one line, and cut: the message at 512 bytes, the others at 256.
absl::Status Trimmed(const absl::Status& status);

// To and from the wire. An error without an ErrorInfo gets one, its code's name as the reason.
// Messages are cut at 1 KB, since all of it must fit gRPC's header limit.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace thinkwire::rpc
