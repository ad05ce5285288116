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

// Bounds what the requests of a server take together, each counted by what is really there of it:
// its bytes when it arrives, the message once it is parsed, then the ids and options that are left,
// or the answer. So who keeps a stream open without reading it holds what the stream needs, not the
// question. gRPC's own quota bounds what is still arriving.
//
// 1. In hand are requests that may still be refused, and answers that may be: each step (Admit,
//    Resize) finds room for what it adds, or fails. Large requests and small ones have a part each,
//    so that neither shuts the other out, and of each part a peer has no more than his share
//    (Shares): whatever is in hand, a newcomer finds room.
// 2. What a running stream keeps grows with what others send, and nobody can refuse it (Keep). It
//    is counted apart and takes no room from requests in hand; but new requests are refused of a
//    peer who keeps more than his share of that, until he keeps less.
// Threads: any.
class RequestBytes {
  struct Parts;

 public:
  static constexpr std::size_t kLargeBytes = kLargeRequestBytes;
  static constexpr std::size_t kMaxLargeBytes = thinkwire::kMaxLargeBytes;
  static constexpr std::size_t kMaxSmallBytes = thinkwire::kMaxSmallBytes;
  static constexpr std::size_t kMaxKeptBytes = thinkwire::kMaxKeptBytes;

  explicit RequestBytes(std::size_t max_large_bytes = kMaxLargeBytes,
                        std::size_t max_small_bytes = kMaxSmallBytes,
                        std::size_t max_kept_bytes = kMaxKeptBytes);

  // What one request takes, until it is destroyed; none if made so.
  // Threads: one at a time. May outlive its RequestBytes.
  class Held {
   public:
    Held() = default;
    Held(Held&& other) noexcept = default;
    Held& operator=(Held&& other) noexcept {
      std::swap(parts_, other.parts_);
      std::swap(in_hand_, other.in_hand_);
      std::swap(kept_, other.kept_);
      return *this;
    }

    // Takes `bytes` from now on. Fails as Admit; then nothing has changed. REQUIRES: in hand.
    absl::Status Resize(std::size_t bytes);

    // Keeps `bytes` from now on, and is in hand no more.
    void Keep(std::size_t bytes);

   private:
    friend class RequestBytes;
    Held(std::shared_ptr<Parts> parts, const std::string& peer, Shares::Held in_hand);

    std::shared_ptr<Parts> parts_;
    Shares::Held in_hand_;
    Shares::Held kept_;
  };

  // Takes `bytes`, the size of a request that has arrived from `peer` (of Shares).
  // Fails: RESOURCE_EXHAUSTED, with a RetryInfo, if there is no room for it, or `peer` keeps too
  // much.
  absl::StatusOr<Held> Admit(const std::string& peer, std::size_t bytes);

 private:
  const std::shared_ptr<Parts> parts_;
};

}  // namespace thinkwire::rpc
