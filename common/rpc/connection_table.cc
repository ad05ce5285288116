#include "common/rpc/connection_table.h"

#include <prometheus/gauge.h>
#include <sys/socket.h>

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/rpc/peers.h"

namespace thinkwire::rpc {

// Whoever holds a pointer to one holds the table's lock, but for Call, which uses it as a key.
struct ConnectionTable::Connection {
  int descriptor = -1;
  std::string name;
  Peer* peer = nullptr;          // null: it has no place any more
  std::uint64_t accepted = 0;    // when, in events_
  std::uint64_t idle_since = 0;  // likewise; while calls == 0
  int calls = 0;
};

struct ConnectionTable::Newcomer {
  std::string key;             // of its peer
  const Peer* peer = nullptr;  // null: it has no connection yet
  bool trusted = false;
  bool common = false;
  std::size_t held = 0;  // connections that count against it
};

ConnectionTable::ConnectionTable(int max_connections, TrustedPeers trusted, prometheus::Gauge* open,
                                 Clock::Duration rest)
    : max_(static_cast<std::size_t>(max_connections)),
      max_common_(max_ - std::min<std::size_t>(kReserved, max_ / 8)),
      trusted_(std::move(trusted)),
      rest_(rest),
      open_(open) {
  CHECK(max_connections >= 1, "a server without connections serves nobody");
}

ConnectionTable::~ConnectionTable() = default;

ConnectionTable::Call ConnectionTable::BeginCall(std::string_view peer) {
  MutexLock lock(mu_);
  const auto found = by_name_.find(Unescaped(peer));
  if (found == by_name_.end()) return {};
  Connection& connection = *found->second;
  if (connection.calls++ == 0 && connection.peer != nullptr) {
    RemoveIdle(connection);
    connection.peer->busy.emplace(connection.accepted, &connection);
  }
  return Call(this, found->second);
}

int ConnectionTable::CallsOf(std::string_view peer) const {
  MutexLock lock(mu_);
  const auto found = by_name_.find(Unescaped(peer));
  return found == by_name_.end() ? 0 : found->second->calls;
}

void ConnectionTable::RemoveIdle(Connection& connection) {
  connection.peer->idle.erase(connection.idle_since);
  unused_ -= connection.peer->unused.erase(connection.idle_since);
}

void ConnectionTable::EndCall(Connection& connection) {
  MutexLock lock(mu_);
  if (--connection.calls > 0 || connection.peer == nullptr) return;
  connection.idle_since = ++events_;
  connection.peer->busy.erase(connection.accepted);
  connection.peer->idle.emplace(connection.idle_since, &connection);
}

bool ConnectionTable::Close(std::string_view peer) {
  MutexLock lock(mu_);
  const auto [begin, end] = by_name_.equal_range(Unescaped(peer));
  bool any = false;
  for (auto named = begin; named != end; ++named) {
    any |= named->second->peer != nullptr;
    ShutDown(*named->second);
  }
  if (any) BeginRest(peer);
  return any;
}

void ConnectionTable::BeginRest(std::string_view peer) {
  const Clock::TimePoint now = Clock::Real().Now();
  std::erase_if(rests_, [now](const auto& rest) { return rest.second <= now; });
  rests_.insert_or_assign(PeerKey(peer), now + rest_);
}

Clock::TimePoint ConnectionTable::RestsUntil(const std::string& peer) const {
  MutexLock lock(mu_);
  const auto found = rests_.find(PeerKey(peer));
  return found == rests_.end() ? Clock::TimePoint() : found->second;
}

void ConnectionTable::CloseAll() {
  MutexLock lock(mu_);
  for (const auto& [name, connection] : by_name_) ShutDown(*connection);
}

void ConnectionTable::CloseIdle() {
  MutexLock lock(mu_);
  std::vector<Connection*> idle;
  for (const auto& [key, peer] : peers_) {
    for (const auto& [since, connection] : peer.idle) {
      if (since <= swept_) idle.push_back(connection);
    }
  }
  for (Connection* const connection : idle) ShutDown(*connection);
  swept_ = events_;
}

ConnectionTable::Place ConnectionTable::MakePlace(const std::string& peer) {
  MutexLock lock(mu_);
  const Newcomer newcomer = Describe(peer);
  if (HasPlace(newcomer)) return Place::kFree;
  Connection* ended = LongestIdle(newcomer, /*trusted=*/false);
  if (ended == nullptr) ended = LongestIdle(newcomer, /*trusted=*/true);
  if (ended == nullptr) ended = NewestOfTheLargest(newcomer);
  if (ended == nullptr) return Place::kNone;
  ShutDown(*ended);
  return Place::kMade;
}

ConnectionTable::Newcomer ConnectionTable::Describe(const std::string& peer) {
  Newcomer newcomer;
  newcomer.trusted = trusted_.Contain(peer);
  // A trusted address of IPv6 is not the rest of its network.
  newcomer.key = absl::StrCat(newcomer.trusted ? "trusted " : "", PeerKey(peer));
  const auto found = peers_.find(newcomer.key);
  newcomer.peer = found == peers_.end() ? nullptr : &found->second;
  newcomer.common = !newcomer.trusted && !IsLoopbackPeer(peer);
  if (newcomer.peer != nullptr && !newcomer.trusted) newcomer.held = newcomer.peer->size();
  return newcomer;
}

bool ConnectionTable::HasPlace(const Newcomer& newcomer) const {
  return all_ < max_ && (!newcomer.common || common_ < max_common_);
}

bool ConnectionTable::Helps(const Peer& peer, const Newcomer& newcomer) const {
  return peer.common || !newcomer.common || common_ < max_common_;
}

bool ConnectionTable::LosesUnused(const Peer& peer) const {
  return unused_ > max_ / 2 && !peer.unused.empty();
}

ConnectionTable::Connection* ConnectionTable::LongestIdleOf(const Peer& peer) const {
  return (LosesUnused(peer) ? peer.unused : peer.idle).begin()->second;
}

ConnectionTable::Connection* ConnectionTable::LongestIdle(const Newcomer& newcomer, bool trusted) {
  const auto rank = [this](const Peer& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return std::tuple(peer.size(), LosesUnused(peer), ~LongestIdleOf(peer)->idle_since);
  };
  const Peer* most = nullptr;
  for (const auto& [key, peer] : peers_) {
    if (peer.trusted != trusted || peer.idle.empty() || !Helps(peer, newcomer)) continue;
    if (peer.size() <= newcomer.held && &peer != newcomer.peer) continue;
    if (most == nullptr || rank(*most) < rank(peer)) most = &peer;
  }
  return most == nullptr ? nullptr : LongestIdleOf(*most);
}

ConnectionTable::Connection* ConnectionTable::NewestOfTheLargest(const Newcomer& newcomer) {
  const std::size_t share = ShareBeside(newcomer);
  if (!newcomer.trusted && newcomer.held >= share) return nullptr;
  const Peer* most = nullptr;
  for (const auto& [key, peer] : peers_) {
    if (peer.trusted || peer.size() <= share || !Helps(peer, newcomer)) continue;
    if (most == nullptr || most->size() < peer.size()) most = &peer;
  }
  // Nobody with more than the newcomer has an idle one: that is rule 1.
  return most == nullptr ? nullptr : most->busy.rbegin()->second;
}

std::size_t ConnectionTable::ShareBeside(const Newcomer& newcomer) const {
  const auto untrusted = static_cast<std::size_t>(
      std::ranges::count_if(peers_, [](const auto& entry) { return !entry.second.trusted; }));
  const bool first = !newcomer.trusted && newcomer.peer == nullptr;
  const std::size_t peers = untrusted + (first ? 1 : 0);
  const std::size_t taken = of_trusted_ + (newcomer.trusted ? 1 : 0);
  return peers == 0 || taken > max_ ? 0 : (max_ - taken) / peers;
}

ConnectionTable::Entry ConnectionTable::Add(int descriptor, const std::string& peer) {
  MutexLock lock(mu_);
  const Newcomer newcomer = Describe(peer);
  CHECK(HasPlace(newcomer), "a place was made before");
  Peer fresh{newcomer.key, newcomer.trusted, newcomer.common, {}, {}, {}};
  Peer& owner = peers_.try_emplace(newcomer.key, std::move(fresh)).first->second;
  auto connection = std::make_shared<Connection>(
      Connection{.descriptor = descriptor, .name = peer, .peer = &owner});
  connection->accepted = connection->idle_since = ++events_;
  owner.idle.emplace(connection->idle_since, connection.get());
  owner.unused.emplace(connection->idle_since, connection.get());
  ++unused_;
  ++all_;
  if (owner.common) ++common_;
  if (owner.trusted) ++of_trusted_;
  Count();
  by_name_.emplace(peer, connection);
  return Entry(this, std::move(connection));
}

void ConnectionTable::ShutDown(Connection& connection) {
  // Who serves it reads its end, and lets go of it.
  (void)shutdown(connection.descriptor, SHUT_RDWR);
  Displace(connection);
}

void ConnectionTable::Displace(Connection& connection) {
  if (connection.peer == nullptr) return;
  Peer& peer = *connection.peer;
  --all_;
  if (peer.common) --common_;
  if (peer.trusted) --of_trusted_;
  RemoveIdle(connection);
  peer.busy.erase(connection.accepted);
  connection.peer = nullptr;
  if (peer.size() == 0) peers_.erase(peers_.find(peer.key));
  Count();
}

void ConnectionTable::Remove(Connection& connection) {
  MutexLock lock(mu_);
  Displace(connection);
  const auto [begin, end] = by_name_.equal_range(connection.name);
  // Its calls may keep the rest.
  by_name_.erase(std::find_if(
      begin, end, [&](const auto& named) { return named.second.get() == &connection; }));
}

void ConnectionTable::Count() {
  if (open_ != nullptr) open_->Set(static_cast<double>(all_));
}

void ConnectionTable::StopCounting() {
  MutexLock lock(mu_);
  if (open_ != nullptr) std::exchange(open_, nullptr)->Set(0);
}

std::size_t ConnectionTable::size() const {
  MutexLock lock(mu_);
  return all_;
}

}  // namespace thinkwire::rpc
