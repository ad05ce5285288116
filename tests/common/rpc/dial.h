#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "common/rpc/file_descriptor.h"
#include "common/rpc/peers.h"

namespace thinkwire::rpc {

inline sockaddr_in Ipv4(const char* address, int port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<std::uint16_t>(port));
  EXPECT_EQ(inet_pton(AF_INET, address, &out.sin_addr), 1);
  return out;
}

// A TCP connection to a port of this machine, from one of its addresses: 127.0.0.2 is another peer
// than 127.0.0.1.
inline FileDescriptor Dial(int port, const char* source = "127.0.0.1") {
  FileDescriptor connection(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in from = Ipv4(source, 0);
  EXPECT_EQ(bind(connection.get(), reinterpret_cast<const sockaddr*>(&from), sizeof(from)), 0);
  const sockaddr_in to = Ipv4("127.0.0.1", port);
  EXPECT_EQ(connect(connection.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  return connection;
}

// What gRPC calls it at the other end.
inline std::string NameOf(const FileDescriptor& connection) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  EXPECT_EQ(getsockname(connection.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return PeerName(address);
}

}  // namespace thinkwire::rpc
