#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>

namespace thinkwire::worker::parallel {

// Two sockets that are connected to each other; whoever takes one closes it.
inline std::array<int, 2> SocketPair() {
  std::array<int, 2> sockets = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
  return sockets;
}

}  // namespace thinkwire::worker::parallel
