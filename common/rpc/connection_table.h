#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/trusted_peers.h"

namespace prometheus {
class Gauge;
}  // namespace prometheus

namespace thinkwire::rpc {

// The open connections of a server: whose they are, which of them carry calls, and which has to go
// when a new one finds no place.
//
// An idle connection holds nothing but its place, so nobody is kept out for its sake; and nobody
// loses calls to others as long as he has no more than his share. Peers are counted by PeerKey. A
// newcomer for whom there is no place gets that of the first of these that there is:
// 1. of the peers that are not trusted and have more connections than the newcomer's peer, and of
//    that peer itself: the one with most connections that has an idle one loses the one that has
//    been idle longest. Of equal peers it is the longest idle one of all; while newcomers that have
//    had no call yet fill more than half of the places, it is the longest idle one of these;
// 2. the same among the trusted peers;
// 3. if the newcomer's peer has less than its share: of those that have more than theirs, the peer
//    with most loses its newest connection, calls and all. A share is the number of places that
//    trusted peers leave, divided by the number of peers that are not trusted.
// (So a flood of connections from ever new addresses ends its own ones, once it has half of the
// places, and not those of clients that have been served; and a newcomer has the time in which so
// many others come to begin its first call.)
// A trusted newcomer counts as one without connections, and as below any share. Else the newcomer
// is refused. It is max-min fairness with whole connections: each peer gets its place at once while
// there are fewer peers than places, without a part being set aside for anybody.
//
// The exception are a few places that only peers on this machine and trusted ones can have, so that
// a health probe that runs beside the server finds one even if busy connections come from more
// addresses than there are places. That makes a port of its own for health unnecessary; it would
// also not show whether this port still accepts.
//
// Borrows: each connection's descriptor, to shut it down; its data it never touches. Whoever has
// the connection has its Entry, and lets go of that before closing the descriptor, whose number may
// be another connection's at once. So a connection has its place as long as somebody serves it.
// Threads: any. Time: as a map, but MakePlace looks at every peer when there is no place.
class ConnectionTable {
  struct Connection;
  void EndCall(Connection& connection);
  void Remove(Connection& connection);

 public:
  // Places of max_connections that are reserved; fewer if that were more than an eighth.
  static constexpr int kReserved = kReservedConnections;

  // `max_connections` >= 1. `open`, which outlives the table, shows size(); nullptr: nobody does.
  // `rest` > 0: how long a peer of whom one was closed gets no new one.
  ConnectionTable(int max_connections, TrustedPeers trusted, prometheus::Gauge* open = nullptr,
                  Clock::Duration rest = kResetHalfLife);
  ~ConnectionTable();
  ConnectionTable(const ConnectionTable&) = delete;
  ConnectionTable& operator=(const ConnectionTable&) = delete;

  // What is to end by `kEnd` when this is destroyed or moved from. A default one is nothing. Must
  // be gone before its table.
  template <void (ConnectionTable::*kEnd)(Connection&)>
  class Held {
   public:
    Held() = default;
    Held(Held&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)), connection_(std::move(other.connection_)) {}
    Held& operator=(Held&& other) noexcept {
      std::swap(table_, other.table_);
      std::swap(connection_, other.connection_);
      return *this;
    }
    ~Held() {
      if (table_ != nullptr) (table_->*kEnd)(*connection_);
    }

   private:
    friend class ConnectionTable;
    Held(ConnectionTable* table, std::shared_ptr<Connection> connection)
        : table_(table), connection_(std::move(connection)) {}

    ConnectionTable* table_ = nullptr;
    std::shared_ptr<Connection> connection_;
  };
  // A call: its connection is busy until all of its calls have ended.
  using Call = Held<&ConnectionTable::EndCall>;
  // A connection, for whoever serves it. Must have ended before its descriptor is closed.
  using Entry = Held<&ConnectionTable::Remove>;

  // One more call of the connection that gRPC calls `peer`; of none, if it has ended.
  [[nodiscard]] Call BeginCall(std::string_view peer);

  // How many calls it has; 0 if it has ended.
  int CallsOf(std::string_view peer) const;

  // Shuts the connections of that name down, whatever they carry. A name is one connection's,
  // unless its client has bound one port for connections to several of our addresses. For what
  // they did: the peer begins to rest. False: all were shut down before.
  bool Close(std::string_view peer);
  // Shuts all of them down.
  void CloseAll();

  // The same of those that have been idle since this was last called: a server that goes sends its
  // clients away so, each between two of its calls.
  void CloseIdle();

  // All below is the listener's.

  // Until when new connections of `peer` are not to be served, or a time that has passed: else who
  // is closed for what it does would do it again at once, and what one connection may do before it
  // is closed costs more than its beginning.
  Clock::TimePoint RestsUntil(const std::string& peer) const;

  enum class Place { kFree, kMade, kNone };
  // Sees that a connection of `peer` has a place, by shutting another down if need be.
  Place MakePlace(const std::string& peer);
  // A new connection. REQUIRES: MakePlace of the same peer found a place, and no other Add since.
  [[nodiscard]] Entry Add(int descriptor, const std::string& peer);
  // `open` shows 0 from now on.
  void StopCounting();
  // How many have a place: they were not shut down here.
  std::size_t size() const;

 private:
  struct Peer {
    std::string key;
    bool trusted = false;
    bool common = false;                          // has no reserved places
    std::map<std::uint64_t, Connection*> idle;    // by since when
    std::map<std::uint64_t, Connection*> busy;    // by when they were accepted
    std::map<std::uint64_t, Connection*> unused;  // those of `idle` that have had no call yet

    std::size_t size() const { return idle.size() + busy.size(); }
  };
  struct Newcomer;

  void BeginRest(std::string_view peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Count() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasPlace(const Newcomer& newcomer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the end of a connection of `peer` would give `newcomer` a place.
  bool Helps(const Peer& peer, const Newcomer& newcomer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Newcomer Describe(const std::string& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes it out of its peer's idle ones, if it is one. REQUIRES: it has a place.
  void RemoveIdle(Connection& connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of a peer that has an idle one, which it would lose by rule 1 or 2, and whether that has to be
  // one without a call.
  bool LosesUnused(const Peer& peer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Connection* LongestIdleOf(const Peer& peer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Rules 1 and 2; null: none.
  Connection* LongestIdle(const Newcomer& newcomer, bool trusted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Rule 3; null: none.
  Connection* NewestOfTheLargest(const Newcomer& newcomer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::size_t ShareBeside(const Newcomer& newcomer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ShutDown(Connection& connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes its place away.
  void Displace(Connection& connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::size_t max_;
  const std::size_t max_common_;  // of peers that have no reserved places
  const TrustedPeers trusted_;
  const Clock::Duration rest_;

  mutable Mutex mu_;
  prometheus::Gauge* open_ ABSL_GUARDED_BY(mu_);            // null: nobody looks
  std::uint64_t events_ ABSL_GUARDED_BY(mu_) = 0;           // orders accepts and ends of calls
  std::uint64_t swept_ ABSL_GUARDED_BY(mu_) = 0;            // the last of them at CloseIdle
  std::map<std::string, Peer> peers_ ABSL_GUARDED_BY(mu_);  // by PeerKey; none is empty
  std::unordered_multimap<std::string, std::shared_ptr<Connection>> by_name_ ABSL_GUARDED_BY(mu_);
  std::unordered_map<std::string, Clock::TimePoint> rests_ ABSL_GUARDED_BY(mu_);  // until when
  // Sums over the peers.
  std::size_t all_ ABSL_GUARDED_BY(mu_) = 0;
  std::size_t common_ ABSL_GUARDED_BY(mu_) = 0;
  std::size_t of_trusted_ ABSL_GUARDED_BY(mu_) = 0;
  std::size_t unused_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace thinkwire::rpc
