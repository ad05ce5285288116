#include "common/rpc/peers.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace thinkwire::rpc
