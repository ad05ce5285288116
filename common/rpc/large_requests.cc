#include "common/rpc/large_requests.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"

namespace thinkwire::rpc {

LargeRequests::Share::Share(Share&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)), bytes_(other.bytes_) {}

LargeRequests::Share& LargeRequests::Share::operator=(Share&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

LargeRequests::Share::~Share() {
  if (owner_ != nullptr) owner_->bytes_ -= bytes_;
}

absl::StatusOr<LargeRequests::Share> LargeRequests::Admit(std::size_t bytes) {
  if (bytes < kLargeBytes) return Share();
  Share share(this, bytes);
  if ((bytes_ += bytes) <= max_bytes_) return share;
  return WithRetryAfter(Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_LARGE_REQUESTS",
                              absl::StrCat("the large requests in hand would take more than ",
                                           max_bytes_, " bytes with this one of ", bytes)));
}

}  // namespace thinkwire::rpc
