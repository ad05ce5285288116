#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

// The sockets of a group's connections. Each is watched by the machine itself: a peer whose machine
// answers nothing for 5 s (its cable is cut, it lost its power) is lost, be it that something was
// sent to it or not. A process that is but stopped still has its machine answer.
namespace thinkwire::worker::parallel {

// Where the leader of a group can be reached. Owns: the port. Threads: one at a time.
class GroupListener {
 public:
  // Listens at "host:port"; port 0: any free one. Fails: INVALID_ARGUMENT malformed; UNAVAILABLE in
  // one sentence, the address cannot be had.
  static absl::StatusOr<std::unique_ptr<GroupListener>> Open(const std::string& address);
  ~GroupListener();
  GroupListener(const GroupListener&) = delete;
  GroupListener& operator=(const GroupListener&) = delete;

  int port() const { return port_; }

  // The next connection's socket, which is the caller's to close; none within `patience`.
  std::optional<int> Accept(std::chrono::milliseconds patience);

 private:
  GroupListener(int socket, int port) : socket_(socket), port_(port) {}

  const int socket_;
  const int port_;
};

// A socket that is connected to "host:port", the caller's to close. Tries each of the host's
// addresses for as long as `patience`. Fails: INVALID_ARGUMENT malformed; UNAVAILABLE, in one
// sentence, nobody is there.
absl::StatusOr<int> DialGroup(const std::string& address, std::chrono::milliseconds patience);

}  // namespace thinkwire::worker::parallel
