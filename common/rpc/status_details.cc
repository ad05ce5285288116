#include "common/rpc/status_details.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/error_metadata.h"
#include "common/rpc/proto_time.h"
#include "common/strings.h"
#include "common/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace thinkwire::rpc {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";
constexpr char kDomain[] = "thinkwire";
constexpr std::size_t kMaxMessageBytes = 1024;
// Of all details; of one text in them. What a client said may come back there.
constexpr std::size_t kMaxDetailBytes = 2048;
constexpr std::size_t kMaxTextBytes = 256;
// What passes of a peer's error.
constexpr std::size_t kMaxPeerMessageBytes = 512;
constexpr int kMaxViolations = 2;
constexpr Clock::Duration kMaxRetryAfter = std::chrono::minutes(1);

template <class Detail>
std::string TypeUrl() {
  return absl::StrCat(kTypePrefix, Detail::descriptor()->full_name());
}

template <class Detail>
std::optional<Detail> Get(const absl::Status& status) {
  const auto payload = status.GetPayload(TypeUrl<Detail>());
  Detail detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

template <class Detail>
void Set(absl::Status& status, const Detail& detail) {
  status.SetPayload(TypeUrl<Detail>(), absl::Cord(detail.SerializeAsString()));
}

// CutText, with spaces for control characters.
std::string OneLine(std::string_view text, std::size_t max_bytes) {
  std::string line = CutText(text, max_bytes);
  std::ranges::replace_if(
      line, [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); }, ' ');
  return line;
}

google::rpc::BadRequest Trimmed(const google::rpc::BadRequest& bad_request) {
  google::rpc::BadRequest trimmed;
  const int number = std::min(bad_request.field_violations_size(), kMaxViolations);
  for (int i = 0; i < number; ++i) {
    const auto& violation = bad_request.field_violations(i);
    auto* kept = trimmed.add_field_violations();
    kept->set_field(OneLine(violation.field(), kMaxTextBytes));
    kept->set_description(OneLine(violation.description(), kMaxTextBytes));
  }
  return trimmed;
}

}  // namespace

absl::Status Error(absl::StatusCode code, std::string_view reason, std::string_view message) {
  absl::Status status(code, View(message));
  google::rpc::ErrorInfo info;
  info.set_domain(kDomain);
  info.set_reason(std::string(reason));
  Set(status, info);
  return status;
}

absl::Status InvalidField(std::string_view field, std::string_view why) {
  absl::Status status = Error(absl::StatusCode::kInvalidArgument, "INVALID_FIELD",
                              absl::StrCat(View(field), " ", View(why)));
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field(CutText(field, kMaxTextBytes));
  violation->set_description(CutText(why, kMaxTextBytes));
  Set(status, bad_request);
  return WithMetadata(std::move(status), "field", field);
}

absl::Status UnimplementedField(std::string_view field) {
  return WithMetadata(Error(absl::StatusCode::kUnimplemented, "FIELD_NOT_IMPLEMENTED",
                            absl::StrCat(View(field), " is not supported yet")),
                      "field", field);
}

absl::Status WithMetadata(absl::Status status, std::string_view key, std::string_view value) {
  google::rpc::ErrorInfo info =
      Get<google::rpc::ErrorInfo>(status).value_or(google::rpc::ErrorInfo());
  info.set_domain(kDomain);
  if (info.reason().empty()) info.set_reason(absl::StatusCodeToString(status.code()));
  (*info.mutable_metadata())[std::string(key)] = CutText(value, kMaxTextBytes);
  Set(status, info);
  return status;
}

absl::Status WithRetryAfter(absl::Status status, Clock::Duration delay) {
  google::rpc::RetryInfo retry;
  SetDuration(delay, retry.mutable_retry_delay());
  Set(status, retry);
  return status;
}

std::string ErrorReason(const absl::Status& status) {
  const auto info = Get<google::rpc::ErrorInfo>(status);
  return info ? info->reason() : "";
}

std::string ErrorMetadata(const absl::Status& status, std::string_view key) {
  const auto info = Get<google::rpc::ErrorInfo>(status);
  if (!info) return "";
  const auto found = info->metadata().find(std::string(key));
  return found == info->metadata().end() ? "" : found->second;
}

bool IsOurError(const absl::Status& status) {
  const auto info = Get<google::rpc::ErrorInfo>(status);
  return info && info->domain() == kDomain;
}

absl::Status Trimmed(const absl::Status& status) {
  absl::Status trimmed = Error(status.code(), CutText(ErrorReason(status), kMaxTextBytes),
                               OneLine(std::string(status.message()), kMaxPeerMessageBytes));
  for (const char* key : {"field", kContextTokens}) {
    const std::string value = ErrorMetadata(status, key);
    if (value.empty()) continue;
    trimmed = WithMetadata(std::move(trimmed), key, OneLine(value, kMaxTextBytes));
  }
  if (const auto bad_request = Get<google::rpc::BadRequest>(status)) {
    Set(trimmed, Trimmed(*bad_request));
  }
  if (const auto delay = RetryAfter(status)) {
    trimmed = WithRetryAfter(std::move(trimmed),
                             std::clamp(*delay, Clock::Duration::zero(), kMaxRetryAfter));
  }
  return trimmed;
}

std::optional<Clock::Duration> RetryAfter(const absl::Status& status) {
  const auto retry = Get<google::rpc::RetryInfo>(status);
  if (!retry) return std::nullopt;
  return ReadDuration(retry->retry_delay());
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status proto;
  proto.set_code(static_cast<int>(status.code()));
  proto.set_message(CutText(std::string(status.message()), kMaxMessageBytes));
  bool has_info = false;
  std::size_t bytes = 0;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    if (!absl::StartsWith(url, kTypePrefix) || bytes + payload.size() > kMaxDetailBytes) return;
    bytes += payload.size();
    has_info |= url == TypeUrl<google::rpc::ErrorInfo>();
    auto* any = proto.add_details();
    any->set_type_url(std::string(url));
    any->set_value(std::string(payload));
  });
  if (!has_info) {
    google::rpc::ErrorInfo info;
    info.set_domain(kDomain);
    info.set_reason(absl::StatusCodeToString(status.code()));
    proto.add_details()->PackFrom(info);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), proto.message(),
                      proto.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status proto;
  if (proto.ParseFromString(status.error_details())) {
    for (const auto& any : proto.details()) {
      result.SetPayload(any.type_url(), absl::Cord(any.value()));
    }
  }
  return result;
}

}  // namespace thinkwire::rpc
