#include "common/rpc/request_bytes.h"

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"

namespace thinkwire::rpc {
namespace {

std::int64_t Amount(std::size_t bytes) { return static_cast<std::int64_t>(bytes); }

absl::Status TooMany(const std::string& message) {
  return WithRetryAfter(
      Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_REQUEST_BYTES", message));
}

absl::Status NoRoom(const Shares& part, std::size_t bytes) {
  return TooMany(absl::StrCat("no room for a request, or its answer, of ", bytes,
                              " bytes: those in hand take ", part.held(), " of ", part.total(),
                              " bytes, or their client its share"));
}

absl::Status KeepsTooMuch(const Shares& kept) {
  return TooMany(absl::StrCat("this client's running streams keep more than its share of ",
                              kept.total(), " bytes"));
}

}  // namespace

struct RequestBytes::Parts {
  Parts(std::int64_t max_large, std::int64_t max_small, std::int64_t max_kept)
      : large(max_large), small(max_small), kept(max_kept) {}

  Shares large;
  Shares small;
  Shares kept;
};

RequestBytes::RequestBytes(std::size_t max_large_bytes, std::size_t max_small_bytes,
                           std::size_t max_kept_bytes)
    : parts_(std::make_shared<Parts>(Amount(max_large_bytes), Amount(max_small_bytes),
                                     Amount(max_kept_bytes))) {}

absl::StatusOr<RequestBytes::Held> RequestBytes::Admit(const std::string& peer, std::size_t bytes) {
  if (!parts_->kept.IsWithinShare(peer)) return KeepsTooMuch(parts_->kept);
  Shares& part = bytes < kLargeBytes ? parts_->small : parts_->large;
  std::optional<Shares::Held> taken = part.Take(peer, Amount(bytes));
  if (!taken) return NoRoom(part, bytes);
  return Held(parts_, peer, *std::move(taken));
}

RequestBytes::Held::Held(std::shared_ptr<Parts> parts, const std::string& peer,
                         Shares::Held in_hand)
    : parts_(std::move(parts)),
      in_hand_(std::move(in_hand)),
      kept_(parts_->kept.TakeBeyond(peer, 0)) {}

absl::Status RequestBytes::Held::Resize(std::size_t bytes) {
  if (parts_ == nullptr || in_hand_.Resize(Amount(bytes))) return absl::OkStatus();
  return NoRoom(*in_hand_.owner(), bytes);
}

void RequestBytes::Held::Keep(std::size_t bytes) {
  if (parts_ == nullptr) return;
  kept_.Keep(Amount(bytes));
  in_hand_.Shrink(0);
}

}  // namespace thinkwire::rpc
