#pragma once

#include <atomic>
#include <cstddef>

#include "absl/status/statusor.h"

namespace thinkwire::rpc {

// Bounds what the large requests that a process handles take together. gRPC's own quota bounds what
// is still arriving; from then to the end of its call a request is held by gRPC, and for a while as
// a message and on its way to the next process too. Small requests are not counted, so that a flood
// of large ones does not shut them out.
// Threads: any.
class LargeRequests {
 public:
  static constexpr std::size_t kLargeBytes = std::size_t{128} << 10;  // some 30k tokens
  // A hundred prompts that fill a context of 128k tokens, of which a GPU's KV cache holds a few.
  static constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

  explicit LargeRequests(std::size_t max_bytes = kMaxBytes) : max_bytes_(max_bytes) {}
  LargeRequests(const LargeRequests&) = delete;
  LargeRequests& operator=(const LargeRequests&) = delete;

  // What one request takes, until it is destroyed; none if made so. At most as long as its
  // LargeRequests.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept;
    Share& operator=(Share&& other) noexcept;
    ~Share();

   private:
    friend class LargeRequests;
    Share(LargeRequests* owner, std::size_t bytes) : owner_(owner), bytes_(bytes) {}

    LargeRequests* owner_ = nullptr;
    std::size_t bytes_ = 0;
  };

  // Takes the share of a request of `bytes`.
  // Fails: RESOURCE_EXHAUSTED, with a RetryInfo, if it is large and there is no room for it.
  absl::StatusOr<Share> Admit(std::size_t bytes);

 private:
  const std::size_t max_bytes_;
  std::atomic<std::size_t> bytes_ = 0;
};

}  // namespace thinkwire::rpc
