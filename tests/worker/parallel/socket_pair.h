#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace thinkwire::worker::parallel {

// Two sockets that are connected to each other; whoever takes one closes it.
inline std::array<int, 2> SocketPair() {
  std::array<int, 2> sockets = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
  return sockets;
}

// The same over TCP, through this machine's loopback.
inline std::array<int, 2> TcpPair() {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(bind(listening, any, size), 0);
  EXPECT_EQ(listen(listening, 1), 0);
  EXPECT_EQ(getsockname(listening, any, &size), 0);
  const int calling = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(calling, any, size), 0);
  const int called = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
  close(listening);
  return {calling, called};
}

}  // namespace thinkwire::worker::parallel
