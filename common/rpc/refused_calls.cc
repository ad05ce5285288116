#include "common/rpc/refused_calls.h"

#include <algorithm>

namespace thinkwire::rpc {

RefusedCalls::Call RefusedCalls::Begin(const std::string& peer, const std::string& connection) {
  MutexLock lock(mu_);
  Peer& of_peer = peers_[peer];
  ++of_peer.calls;
  ++of_peer.by_connection[connection];
  ++size_;
  return Call(this, peer, connection);
}

std::optional<std::string> RefusedCalls::TakeWorst() {
  MutexLock lock(mu_);
  if (size_ <= max_) return std::nullopt;
  const auto peer =
      std::ranges::max_element(peers_, {}, [](const auto& entry) { return entry.second.calls; });
  const auto worst = std::ranges::max_element(peer->second.by_connection, {},
                                              [](const auto& entry) { return entry.second; });
  std::string connection = worst->first;
  Remove(std::string(peer->first), connection, worst->second);
  return connection;
}

void RefusedCalls::End(const std::string& peer, const std::string& connection) {
  MutexLock lock(mu_);
  Remove(peer, connection, 1);
}

// No effect on a connection that was taken.
void RefusedCalls::Remove(const std::string& peer, const std::string& connection,
                          std::size_t calls) {
  const auto of_peer = peers_.find(peer);
  if (of_peer == peers_.end()) return;
  const auto of_connection = of_peer->second.by_connection.find(connection);
  if (of_connection == of_peer->second.by_connection.end()) return;
  size_ -= calls;
  of_peer->second.calls -= calls;
  of_connection->second -= calls;
  if (of_connection->second == 0) of_peer->second.by_connection.erase(of_connection);
  if (of_peer->second.calls == 0) peers_.erase(of_peer);
}

std::size_t RefusedCalls::size() const {
  MutexLock lock(mu_);
  return size_;
}

}  // namespace thinkwire::rpc
