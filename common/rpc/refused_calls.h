#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "common/mutex.h"
#include "common/peer_limits.h"

namespace thinkwire::rpc {

// Refused calls that are not over, as nobody has read their refusal yet. To refuse a call must take
// no place of those that it was refused, but each takes some 12 KB of gRPC's memory until the
// transport has its end, which for a client that reads nothing is as long as TCP is patient.
//
// Whoever reads has few of them, however many he is refused, so there is no limit for one alone.
// Where there are too many in all, connections have to be closed, one at a time: of the peer that
// has most of them the connection that has most. So an honest client loses none while another peer
// reads less than he.
// Threads: any. Time: as a map, but TakeWorst looks at every connection that has some.
class RefusedCalls {
 public:
  // `max` >= 0.
  explicit RefusedCalls(std::size_t max = kMaxRefusedCalls) : max_(max) {}
  RefusedCalls(const RefusedCalls&) = delete;
  RefusedCalls& operator=(const RefusedCalls&) = delete;

  // One of them, until it is destroyed; none if made so. At most as long as its RefusedCalls.
  class Call {
   public:
    Call() = default;
    Call(Call&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          peer_(std::move(other.peer_)),
          connection_(std::move(other.connection_)) {}
    Call& operator=(Call&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(peer_, other.peer_);
      std::swap(connection_, other.connection_);
      return *this;
    }
    ~Call() {
      if (owner_ != nullptr) owner_->End(peer_, connection_);
    }

   private:
    friend class RefusedCalls;
    Call(RefusedCalls* owner, std::string peer, std::string connection)
        : owner_(owner), peer_(std::move(peer)), connection_(std::move(connection)) {}

    RefusedCalls* owner_ = nullptr;
    std::string peer_;
    std::string connection_;
  };

  // One more of `connection` (gRPC's name of the peer), which is `peer`'s (of Shares).
  Call Begin(const std::string& peer, const std::string& connection);

  // The connection to be closed, if there are too many; its calls count no more. Else nullopt.
  std::optional<std::string> TakeWorst();

  std::size_t size() const;

 private:
  struct Peer {
    std::size_t calls = 0;
    std::map<std::string, std::size_t> by_connection;  // > 0 each
  };

  void End(const std::string& peer, const std::string& connection);
  void Remove(const std::string& peer, const std::string& connection, std::size_t calls)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::size_t max_;
  mutable Mutex mu_;
  std::size_t size_ ABSL_GUARDED_BY(mu_) = 0;               // sum over the peers
  std::map<std::string, Peer> peers_ ABSL_GUARDED_BY(mu_);  // none is empty
};

}  // namespace thinkwire::rpc
