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
  if (!EndsAlone(name)) return;
  while (Begin next = Next(name)) next(Turn(this, name));
}

bool CountTurns::EndsAlone(const std::string& name) {
  MutexLock lock(mu_);
  Peer& peer = peers_.find(name)->second;
  --peer.running;
  return !std::exchange(peer.hands_on, true);
}

CountTurns::Begin CountTurns::Next(const std::string& name) {
  MutexLock lock(mu_);
  const auto found = peers_.find(name);
  Peer& peer = found->second;
  if (peer.running < kAtOnce && !peer.waiting.empty()) {
    Begin next = std::move(peer.waiting.front());
    peer.waiting.pop_front();
    ++peer.running;
    return next;
  }
  peer.hands_on = false;
  if (peer.running == 0) peers_.erase(found);
  return nullptr;
}

std::size_t CountTurns::num_peers() const {
  MutexLock lock(mu_);
  return peers_.size();
}

}  // namespace thinkwire::router
