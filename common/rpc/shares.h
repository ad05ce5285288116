#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "common/mutex.h"

namespace thinkwire::rpc {

// One bounded resource that peers hold parts of: places, bytes, streams. Nobody is limited while
// there is plenty, and nobody can take all of it: a peer may hold up to kAlpha times what is then
// free. Alone it gets 8 of 9 parts, two get 8 of 17 each, and a newcomer always finds some left,
// without a part being set aside for him or anybody knowing how many peers there are. This is the
// dynamic threshold of shared-memory switches (Choudhury and Hahne, "Dynamic Queue Length
// Thresholds for Shared-Memory Packet Switches", IEEE/ACM ToN 6(2), 1998).
// Threads: any.
class Shares {
 public:
  static constexpr std::int64_t kAlpha = 8;

  // `total` >= 1, in units of the resource.
  explicit Shares(std::int64_t total) : total_(total) {}
  Shares(const Shares&) = delete;
  Shares& operator=(const Shares&) = delete;

  // What a peer holds, until it is destroyed; none if made so. At most as long as its Shares.
  class Held {
   public:
    Held() = default;
    Held(Held&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          peer_(std::move(other.peer_)),
          amount_(std::exchange(other.amount_, 0)) {}
    Held& operator=(Held&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(peer_, other.peer_);
      std::swap(amount_, other.amount_);
      return *this;
    }
    ~Held() { Shrink(0); }

    std::int64_t amount() const { return amount_; }
    // nullptr: it holds none.
    const Shares* owner() const { return owner_; }
    // Gives back what is beyond `amount`; no effect if it holds no more than that.
    void Shrink(std::int64_t amount);
    // Holds `amount` from now on, more or less. False, and nothing changes, if Take would not give
    // what is missing. REQUIRES: it was taken from a Shares.
    bool Resize(std::int64_t amount);
    // The same for what is held already, whoever allows it: beyond the peer's share and the total
    // too, so that others find less. REQUIRES: as Resize.
    void Keep(std::int64_t amount);

   private:
    friend class Shares;
    Held(Shares* owner, std::string peer, std::int64_t amount)
        : owner_(owner), peer_(std::move(peer)), amount_(amount) {}

    Shares* owner_ = nullptr;
    std::string peer_;
    std::int64_t amount_ = 0;
  };

  // `amount` >= 0 more for `peer` (a PeerKey). An empty name is a trusted peer, whom only the total
  // limits. Nullopt: there is not so much left, or it is more than the peer's share.
  std::optional<Held> Take(const std::string& peer, std::int64_t amount);
  // The same for what nobody can be refused, as Held::Keep.
  Held TakeBeyond(const std::string& peer, std::int64_t amount);

  // Whether `peer` holds no more than Take would leave it: not after too much was taken beyond, or
  // once others have taken so much that its share is smaller. Who holds nothing always is.
  bool IsWithinShare(const std::string& peer) const;

  std::int64_t total() const { return total_; }
  std::int64_t held() const;
  std::int64_t held_by(const std::string& peer) const;

 private:
  bool TryTake(const std::string& peer, std::int64_t amount);
  void TakeAnyway(const std::string& peer, std::int64_t amount);
  void GiveBack(const std::string& peer, std::int64_t amount);

  const std::int64_t total_;
  mutable Mutex mu_;
  std::int64_t held_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, std::int64_t> by_peer_ ABSL_GUARDED_BY(mu_);  // > 0 each
};

}  // namespace thinkwire::rpc
