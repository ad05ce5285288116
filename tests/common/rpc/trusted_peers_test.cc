#include "common/rpc/trusted_peers.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"

namespace thinkwire::rpc {
namespace {

TrustedPeers Parsed(const std::string& list) {
  const auto peers = TrustedPeers::Parse(list);
  EXPECT_TRUE(peers.ok()) << peers.status();
  return peers.value_or(TrustedPeers());
}

TEST(TrustedPeers, AreNobodyUnlessNamed) {
  for (const TrustedPeers& peers : {TrustedPeers(), Parsed("")}) {
    EXPECT_FALSE(peers.Contain("ipv4:127.0.0.1:5"));
    EXPECT_EQ(peers.ShareKey("ipv4:127.0.0.1:5"), "127.0.0.1");
  }
}

TEST(TrustedPeers, AreAddressesAndPrefixes) {
  const TrustedPeers peers = Parsed("10.0.0.7, 10.1.0.0/17,2001:db8::/33,fe80::1");
  for (const char* in :
       {"ipv4:10.0.0.7:1", "ipv4:10.1.0.0:1", "ipv4:10.1.127.255:1", "ipv6:[::ffff:10.0.0.7]:1",
        "ipv6:[2001:db8:7fff::1]:1", "ipv6:%5B2001:db8::5%5D:1", "ipv6:%5Bfe80::1%252%5D:1"}) {
    EXPECT_TRUE(peers.Contain(in)) << in;
    EXPECT_EQ(peers.ShareKey(in), "") << in;
  }
  for (const char* out : {"ipv4:10.0.0.8:7", "ipv4:10.1.128.0:1", "ipv6:[2001:db8:8000::1]:1",
                          "ipv6:[fe80::2]:1", "unix:/run/10.0.0.7:1", ""}) {
    EXPECT_FALSE(peers.Contain(out)) << out;
  }
  EXPECT_EQ(peers.ShareKey("ipv6:[fe80::2]:1"), "fe80::/64");
}

TEST(TrustedPeers, AWholeKindIsAPrefixToo) {
  EXPECT_TRUE(Parsed("0.0.0.0/0").Contain("ipv4:203.0.113.9:1"));
  EXPECT_FALSE(Parsed("0.0.0.0/0").Contain("ipv6:[2001:db8::1]:1"));
  EXPECT_TRUE(Parsed("::/0").Contain("ipv6:[2001:db8::1]:1"));
  EXPECT_FALSE(Parsed("::/0").Contain("ipv4:203.0.113.9:1"));
}

TEST(TrustedPeers, RefusesWhatIsNone) {
  for (const std::string wrong :
       {"gateway", "10.0.0", "10.0.0.1:80", "[::1]", "::1%lo", "10.0.0.0/33", "10.0.0.0/-1",
        "10.0.0.0/", "10.0.0.0/8/8", "::/129", "10.0.0.7/8", "2001:db8::1/64"}) {
    const auto peers = TrustedPeers::Parse("10.9.9.9," + wrong);
    EXPECT_EQ(peers.status().code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_TRUE(absl::StrContains(peers.status().message(), "'" + wrong + "'")) << peers.status();
  }
  for (const std::string empty : {",", "10.0.0.1,", " "}) {
    EXPECT_FALSE(TrustedPeers::Parse(empty).ok()) << empty;
  }
}

TEST(TrustedPeers, ALongOrOddEntryIsShownShortAndEscaped) {
  const auto peers = TrustedPeers::Parse("\n\xff" + std::string(100'000, 'x'));
  EXPECT_LT(peers.status().message().size(), 200U);
  EXPECT_FALSE(absl::StrContains(peers.status().message(), "\n"));
}

TEST(Forwarders, AreTheTrustedPeersOrThisMachineWhereNobodyElseComes) {
  constexpr char kHere[] = "ipv4:127.0.0.1:1";
  constexpr char kThere[] = "ipv4:10.0.0.7:1";
  for (const char* loopback : {"127.0.0.1:50061", "localhost:0", "[::1]:50061"}) {
    EXPECT_TRUE(Forwarders({}, loopback).Contain(kHere)) << loopback;
    EXPECT_TRUE(Forwarders({}, loopback).Contain("ipv6:%5B::1%5D:1")) << loopback;
    EXPECT_FALSE(Forwarders({}, loopback).Contain(kThere)) << loopback;
  }
  for (const char* anywhere : {"0.0.0.0:50061", ":50061", "worker-1:50061", "[::]:50061"}) {
    EXPECT_TRUE(Forwarders({}, anywhere).empty()) << anywhere;
  }
  for (const char* listen : {"127.0.0.1:50061", "0.0.0.0:50061"}) {
    EXPECT_TRUE(Forwarders(Parsed("10.0.0.7"), listen).Contain(kThere)) << listen;
    EXPECT_FALSE(Forwarders(Parsed("10.0.0.7"), listen).Contain(kHere)) << listen;
  }
}

}  // namespace
}  // namespace thinkwire::rpc
