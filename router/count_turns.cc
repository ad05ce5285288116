#include "router/count_turns.h"

namespace thinkwire::router {

void CountTurns::Take(const std::string& name, Begin begin) {
  {
    MutexLock lock(mu_);
    Peer& peer = peers_[name];
    if (peer.running == kAtOnce) {
      peer.waiting.push_back(std::move(begin));
      return;
    }
    ++peer.running;
  }
  begin(Turn(this, name));
}

void CountTurns::End(const std::string& name) {
  Begin next;
  {
    MutexLock lock(mu_);
    const auto peer = peers_.find(name);
    if (!peer->second.waiting.empty()) {
      next = std::move(peer->second.waiting.front());
      peer->second.waiting.pop_front();
    } else if (--peer->second.running == 0) {
      peers_.erase(peer);
    }
  }
  if (next) next(Turn(this, name));
}

std::size_t CountTurns::num_peers() const {
  MutexLock lock(mu_);
  return peers_.size();
}

}  // namespace thinkwire::router
