#include "common/rpc/peer_places.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire::rpc {
namespace {

std::vector<Shares::Held> TakeAll(PeerPlaces& places, const std::string& peer) {
  std::vector<Shares::Held> taken;
  while (auto held = places.Take(peer)) taken.push_back(*std::move(held));
  return taken;
}

TEST(PeerPlaces, OnesOwnPortsAreOnePeer) {
  PeerPlaces places(90, TrustedPeers());
  const auto first = TakeAll(places, "ipv4:10.0.0.1:1");
  EXPECT_EQ(first.size(), 80U);
  EXPECT_FALSE(places.Take("ipv4:10.0.0.1:2"));
  EXPECT_TRUE(places.Take("ipv4:10.0.0.2:2"));
}

TEST(PeerPlaces, TrustedPeersHaveTheirOwn) {
  PeerPlaces places(90, *TrustedPeers::Parse("10.0.0.1"));
  std::vector<std::vector<Shares::Held>> others;
  for (const std::string host : {"2", "3", "4", "5", "6", "7", "8", "9"}) {
    others.push_back(TakeAll(places, "ipv4:10.0.0." + host + ":1"));
  }
  auto trusted = TakeAll(places, "ipv4:10.0.0.1:1");
  EXPECT_EQ(trusted.size(), 90U);
  trusted.clear();
  EXPECT_TRUE(places.Take("ipv4:10.0.0.1:1"));
}

}  // namespace
}  // namespace thinkwire::rpc
