#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/peer_limits.h"
#include "common/rpc/connection_table.h"
#include "common/rpc/file_descriptor.h"
#include "common/rpc/trusted_peers.h"

struct addrinfo;
namespace prometheus {
class Counter;
class Gauge;
}  // namespace prometheus

namespace thinkwire::rpc {

// Raises the process's limit of open files, as far as it may, so that so many fit beside those that
// it needs for itself. Returns how many do: `wanted`, or fewer.
std::int64_t MakeRoomForFiles(std::int64_t wanted);

// Files of a connection that is watched (Listener::StartWatching), as all of gRPC's are.
inline constexpr int kFilesOfWatched = 2;

// The same in connections that are watched.
int MakeRoomForConnections(int wanted);

// Whether there is room for at least one of `wanted` such connections. Before anything is opened.
// Fails: RESOURCE_EXHAUSTED, one sentence that says what the limit is and what is needed.
absl::Status CheckRoomForConnections(int wanted);

// Accepts TCP connections for somebody else to serve, at most so many at once: for one more another
// is shut down, or else it is reset; ConnectionTable says which. gRPC 1.51 alone has no such limit,
// and stops accepting for good when the process has run out of files. A connection of a peer that
// rests (ConnectionTable::RestsUntil) waits, unread and without a place; so many may, others are
// reset.
//
// Owns: the listening sockets, a thread; of connections that are watched a descriptor. Threads:
// one, for all calls but those of connections().
class Listener {
 public:
  struct Options {
    std::string address;  // "host:port"; port 0 takes a free one
    int max_connections = kMaxConnections;
    TrustedPeers trusted_peers = {};
    // Outlive the listener. nullptr: not counted.
    prometheus::Gauge* connections = nullptr;  // that have not ended; 0 after Stop
    prometheus::Counter* refused = nullptr;    // reset at once
    prometheus::Counter* displaced = nullptr;  // shut down for others
    Clock::Duration rest = kResetHalfLife;     // of a peer of whom one was closed
  };
  // A connected, non-blocking socket, whose place is free again once `entry` is gone: before the
  // socket, by the order of these two.
  struct Accepted {
    FileDescriptor socket;
    ConnectionTable::Entry entry;
  };
  // Takes over a connection. On the listener's thread; must not block.
  using Serve = std::function<void(Accepted connection)>;
  using ServeWatched = std::function<void(FileDescriptor connection)>;

  // Listens at every address that the host has, on one port. Connections wait until Start.
  // Fails: UNAVAILABLE malformed, taken, or no address of this machine.
  static absl::StatusOr<std::unique_ptr<Listener>> Listen(Options options);

  ~Listener();  // Stop
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int port() const { return port_; }

  // Whoever serves the connections tells it of their calls, and has it close what shall end.
  ConnectionTable& connections() { return connections_; }

  // Accepts from now on. Once, in one of two ways.
  void Start(Serve serve);
  // For who does not say when a connection ends, as gRPC: it has ended when either side has shut it
  // down. To see that, the listener keeps a second descriptor of each: it costs two files.
  void StartWatching(ServeWatched serve);

  // Accepts no more, and sees no more ends; the connections live on, and can be closed still.
  // `serve` is not called any more.
  void Stop();

 private:
  struct Waiting {
    FileDescriptor socket;
    std::string peer;  // by name
  };

  explicit Listener(Options options);

  absl::Status Open();
  absl::Status OpenOne(const addrinfo& address);
  void Run();
  void AcceptAll(int socket);
  // Whether there may be another.
  bool AcceptOne(int socket);
  // Has it served, or wait, or resets it.
  void Admit(FileDescriptor connection, const std::string& peer);
  void Wait(FileDescriptor connection, const std::string& peer, Clock::TimePoint until);
  void AdmitWhoHasWaited();
  // For epoll_wait.
  int MillisecondsToLook() const;
  // False: there is none. The log is told that places are short, until half of them are free.
  bool MakePlace(const std::string& peer);
  // Its end will be a reset.
  void Refuse(const FileDescriptor& connection);
  void Watch(Accepted connection, const ServeWatched& serve);
  void Forget(int watched);
  // Accepts no more until something happens or a short time has passed.
  void Pause();
  // Looks at the listening sockets, or does not.
  void Listening(bool on);

  // Constant after Listen.
  const Options options_;
  FileDescriptor events_;   // epoll
  FileDescriptor stopped_;  // eventfd
  std::vector<FileDescriptor> sockets_;
  int port_ = 0;

  ConnectionTable connections_;
  std::thread thread_;

  // The thread's.
  Serve serve_;
  std::unordered_map<int, Accepted> watched_;         // by descriptor
  std::multimap<Clock::TimePoint, Waiting> waiting_;  // by until when
  bool paused_ = false;
  bool told_ = false;       // the log, that files or memory ran out; until a connection is served
  bool told_full_ = false;  // likewise, that places are short
};

}  // namespace thinkwire::rpc
