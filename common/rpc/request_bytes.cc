#include "common/rpc/request_bytes.h"

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"

namespace thinkwire::rpc {
namespace {

absl::Status NoRoom(const Shares& part, std::size_t bytes) {
  return WithRetryAfter(
      Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_REQUEST_BYTES",
            absl::StrCat("no room for a request of ", bytes, " bytes: those in hand take ",
                         part.held(), " of ", part.total(), " bytes, or their client its share")));
}

}  // namespace

RequestBytes::RequestBytes(std::size_t max_large_bytes, std::size_t max_small_bytes)
    : large_(std::make_shared<Shares>(static_cast<std::int64_t>(max_large_bytes))),
      small_(std::make_shared<Shares>(static_cast<std::int64_t>(max_small_bytes))) {}

absl::StatusOr<RequestBytes::Held> RequestBytes::Admit(const std::string& peer, std::size_t bytes) {
  const std::shared_ptr<Shares>& part = bytes < kLargeBytes ? small_ : large_;
  std::optional<Shares::Held> taken = part->Take(peer, static_cast<std::int64_t>(bytes));
  if (!taken) return NoRoom(*part, bytes);
  return Held(part, *std::move(taken));
}

absl::Status RequestBytes::Held::Resize(std::size_t bytes) {
  if (part_ == nullptr || bytes_.Resize(static_cast<std::int64_t>(bytes))) return absl::OkStatus();
  return NoRoom(*part_, bytes);
}

void RequestBytes::Held::Keep(std::size_t bytes) {
  if (part_ != nullptr) bytes_.Keep(static_cast<std::int64_t>(bytes));
}

}  // namespace thinkwire::rpc
