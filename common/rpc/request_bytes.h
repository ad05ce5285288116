#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/peer_limits.h"
#include "common/rpc/shares.h"

namespace thinkwire::rpc {

// Bounds what the requests in hand take together, each counted by what is really kept of it: its
// bytes when it arrives, the message once it is parsed, then the ids and options that are left. So
// who keeps a stream open without reading it holds what the stream needs, not the question.
// gRPC's own quota bounds what is still arriving.
//
// Large requests and small ones have a part each, so that neither shuts the other out, and of each
// part a peer has no more than his share (Shares).
// Threads: any.
class RequestBytes {
 public:
  static constexpr std::size_t kLargeBytes = kLargeRequestBytes;
  static constexpr std::size_t kMaxLargeBytes = thinkwire::kMaxLargeBytes;
  static constexpr std::size_t kMaxSmallBytes = thinkwire::kMaxSmallBytes;

  explicit RequestBytes(std::size_t max_large_bytes = kMaxLargeBytes,
                        std::size_t max_small_bytes = kMaxSmallBytes);

  // What one request takes, until it is destroyed; none if made so.
  // Threads: one at a time. May outlive its RequestBytes.
  class Held {
   public:
    Held() = default;
    Held(Held&& other) noexcept = default;
    Held& operator=(Held&& other) noexcept {
      std::swap(part_, other.part_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }

    // Takes `bytes` from now on. Fails as Admit; then nothing has changed.
    absl::Status Resize(std::size_t bytes);

    // The same for what is there already: counted also where there is no room, so that others wait.
    void Keep(std::size_t bytes);

   private:
    friend class RequestBytes;
    Held(std::shared_ptr<Shares> part, Shares::Held bytes)
        : part_(std::move(part)), bytes_(std::move(bytes)) {}

    std::shared_ptr<Shares> part_;
    Shares::Held bytes_;
  };

  // Takes `bytes`, the size of a request that has arrived from `peer` (of Shares).
  // Fails: RESOURCE_EXHAUSTED, with a RetryInfo, if there is no room for it.
  absl::StatusOr<Held> Admit(const std::string& peer, std::size_t bytes);

 private:
  const std::shared_ptr<Shares> large_;
  const std::shared_ptr<Shares> small_;
};

}  // namespace thinkwire::rpc
