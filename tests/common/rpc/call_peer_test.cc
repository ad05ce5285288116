#include "common/rpc/call_peer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "common/rpc/grpc_server.h"
#include "common/rpc/trusted_peers.h"
#include "tests/common/rpc/telling_service.h"
#include "tests/fakes/raw_http2.h"

namespace thinkwire::rpc {
namespace {

// Who a call from 127.0.0.2 is, if it says that it is `name`; empty: says nothing.
std::string PeerOfCall(const std::string& trusted, const std::string& forwarders,
                       const std::string& name) {
  const TrustedPeers those = *TrustedPeers::Parse(trusted);
  const TrustedPeers senders = *TrustedPeers::Parse(forwarders);
  TellingService teller([&](const auto& context) { return CallPeer(context, those, senders); });
  const auto server = GrpcServer::Start({.listen = "127.0.0.1:0", .services = {&teller}});
  EXPECT_TRUE(server.ok()) << server.status();
  RawHttp2 client({.port = (*server)->port(), .source = "127.0.0.2"});
  RawHttp2::Headers headers;
  if (!name.empty()) headers.emplace_back(kPeerMetadata, name);
  const std::uint32_t call = client.Call(TellingService::kTell, "", headers);
  EXPECT_TRUE(client.ReadUntilOver(call));
  EXPECT_EQ(client.stream(call).Status().code(), absl::StatusCode::kAborted);
  return std::string(client.stream(call).Status().message());
}

TEST(CallPeer, IsTheSendersAddressWhateverItSays) {
  EXPECT_EQ(PeerOfCall("", "", ""), "127.0.0.2");
  EXPECT_EQ(PeerOfCall("", "", "10.0.0.7"), "127.0.0.2");
  EXPECT_EQ(PeerOfCall("127.0.0.1", "127.0.0.1", "10.0.0.7"), "127.0.0.2");
}

TEST(CallPeer, IsWhomATrustedForwarderNames) {
  EXPECT_EQ(PeerOfCall("127.0.0.2", "127.0.0.2", "10.0.0.7"), "10.0.0.7");
  EXPECT_EQ(PeerOfCall("127.0.0.2", "127.0.0.2", ""), "");
}

TEST(CallPeer, AForwarderThatIsNotTrustedIsBelievedAndStillHasAShare) {
  EXPECT_EQ(PeerOfCall("", "127.0.0.0/8", "10.0.0.7"), "10.0.0.7");
  EXPECT_EQ(PeerOfCall("", "127.0.0.0/8", ""), "127.0.0.2");
}

TEST(CallPeer, ANameTooLongIsNone) {
  const std::string longest(kMaxPeerBytes, 'x');
  EXPECT_EQ(PeerOfCall("", "127.0.0.2", longest), longest);
  EXPECT_EQ(PeerOfCall("", "127.0.0.2", longest + "x"), "127.0.0.2");
}

}  // namespace
}  // namespace thinkwire::rpc
