#include "common/rpc/peers.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

namespace thinkwire::rpc {
namespace {

TEST(PeerKey, IsAnAddressWithoutItsPort) {
  EXPECT_EQ(PeerKey("ipv4:10.0.0.7:51234"), "10.0.0.7");
  EXPECT_EQ(PeerKey("ipv6:[::1]:51234"), "::/64");
}

TEST(PeerKey, HasTheNetworkOfAnIpv6Address) {
  EXPECT_EQ(PeerKey("ipv6:%5B2001:db8::1:2:3:4%5D:51234"), "2001:db8::/64");
  EXPECT_EQ(PeerKey("ipv6:[2001:db8::ffff:1]:80"), "2001:db8::/64");
  EXPECT_EQ(PeerKey("ipv6:[2001:db8:0:1::1]:80"), "2001:db8:0:1::/64");
  EXPECT_EQ(PeerKey("ipv6:[fe80::1%eth0]:80"), "fe80::/64");
}

TEST(PeerKey, KnowsAnIpv4AddressInIpv6) {
  EXPECT_EQ(PeerKey("ipv6:[::ffff:10.0.0.7]:51234"), "10.0.0.7");
}

TEST(PeerKey, LeavesWhatIsNoAddress) {
  EXPECT_EQ(PeerKey("unix:/run/socket"), "unix:/run/socket");
  EXPECT_EQ(PeerKey("ipv6:nonsense"), "ipv6:nonsense");
  EXPECT_EQ(PeerKey(""), "");
}

sockaddr_storage Ipv6(const std::string& host, std::uint16_t port, std::uint32_t scope = 0) {
  sockaddr_storage address{};
  auto& wide = reinterpret_cast<sockaddr_in6&>(address);
  wide.sin6_family = AF_INET6;
  wide.sin6_port = htons(port);
  wide.sin6_scope_id = scope;
  EXPECT_EQ(inet_pton(AF_INET6, host.c_str(), &wide.sin6_addr), 1);
  return address;
}

TEST(PeerName, IsWhatGrpcSays) {
  sockaddr_storage address{};
  auto& narrow = reinterpret_cast<sockaddr_in&>(address);
  narrow.sin_family = AF_INET;
  narrow.sin_port = htons(51234);
  EXPECT_EQ(inet_pton(AF_INET, "10.0.0.7", &narrow.sin_addr), 1);
  EXPECT_EQ(PeerName(address), "ipv4:10.0.0.7:51234");
  EXPECT_EQ(PeerName(Ipv6("::ffff:10.0.0.7", 80)), "ipv4:10.0.0.7:80");
  EXPECT_EQ(PeerName(Ipv6("2001:db8::1", 80)), Unescaped("ipv6:%5B2001:db8::1%5D:80"));
  EXPECT_EQ(PeerName(Ipv6("fe80::1", 80, 3)), Unescaped("ipv6:%5Bfe80::1%253%5D:80"));
}

TEST(IsLoopbackPeer, IsOfThisMachineAlone) {
  for (const char* peer :
       {"ipv4:127.0.0.1:1", "ipv4:127.9.9.9:1", "ipv6:%5B::1%5D:1", "ipv6:[::ffff:127.0.0.1]:1"}) {
    EXPECT_TRUE(IsLoopbackPeer(peer)) << peer;
  }
  for (const char* peer : {"ipv4:128.0.0.1:1", "ipv6:[::2]:1", "unix:127.0.0.1:1", ""}) {
    EXPECT_FALSE(IsLoopbackPeer(peer)) << peer;
  }
}

}  // namespace
}  // namespace thinkwire::rpc
