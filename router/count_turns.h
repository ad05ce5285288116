#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/mutex.h"

namespace thinkwire::router {

// How many long prompts of one peer are on their way to be counted at a time. All that goes to a
// worker shares one connection, and its window: a peer's hundreds of long prompts, sent all at
// once, would be what everybody else's next question waits behind.
//
// Who waits holds his request alone, whose bytes count as his (rpc::RequestBytes), so that those
// who wait are as bounded as those. Threads: any. Outlives its turns.
class CountTurns {
 public:
  static constexpr int kAtOnce = 2;  // so that the next is there when one has been counted

  // A turn of a peer, until it is destroyed: then the next of that peer has it.
  class Turn {
   public:
    Turn() = default;
    Turn(Turn&& other) noexcept
        : turns_(std::exchange(other.turns_, nullptr)), peer_(std::move(other.peer_)) {}
    Turn& operator=(Turn&& other) noexcept {
      std::swap(turns_, other.turns_);
      std::swap(peer_, other.peer_);
      return *this;
    }
    ~Turn() {
      if (turns_ != nullptr) turns_->End(peer_);
    }

   private:
    friend class CountTurns;
    Turn(CountTurns* turns, std::string peer) : turns_(turns), peer_(std::move(peer)) {}

    CountTurns* turns_ = nullptr;
    std::string peer_;
  };
  using Begin = std::function<void(Turn turn)>;

  // Calls `begin` now, or when the peer's turns before it have ended, on the thread that ends one.
  void Take(const std::string& peer, Begin begin);

  std::size_t num_peers() const;  // that have a turn

 private:
  struct Peer {
    int running = 0;
    std::deque<Begin> waiting{};
    bool hands_on = false;  // somebody, below whom others' turns may end, calls those who wait
  };

  void End(const std::string& peer);
  // Ends a turn. Whether whoever ends it is to hand on, and not somebody who does already: who has
  // his turn may end it at once, thousands in a row.
  bool EndsAlone(const std::string& peer);
  // Whose turn is next; null: nobody's, and nobody hands on any more.
  Begin Next(const std::string& peer);

  mutable Mutex mu_;
  std::unordered_map<std::string, Peer> peers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router
