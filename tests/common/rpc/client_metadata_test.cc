#include "common/rpc/client_metadata.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "common/rpc/grpc_server.h"
#include "tests/common/rpc/telling_service.h"
#include "tests/fakes/raw_http2.h"

namespace thinkwire::rpc {
namespace {

class ClientMetadataTest : public testing::Test {
 protected:
  std::string ValueOf(const RawHttp2::Headers& headers) {
    RawHttp2 client({.port = server_->port()});
    const std::uint32_t call = client.Call(TellingService::kTell, "", headers);
    EXPECT_TRUE(client.ReadUntilOver(call));
    return std::string(client.stream(call).Status().message());
  }

  TellingService teller_{[](const auto& context) { return ClientMetadata(context, "word", 8); }};
  std::unique_ptr<GrpcServer> server_ =
      *GrpcServer::Start({.listen = "127.0.0.1:0", .services = {&teller_}});
};

TEST_F(ClientMetadataTest, IsWhatTheCallBrought) {
  EXPECT_EQ(ValueOf({{"word", "a-b c~1"}}), "a-b c~1");
  EXPECT_EQ(ValueOf({{"other", "a"}}), "");
  EXPECT_EQ(ValueOf({{"word", "12345678"}}), "12345678");
}

TEST_F(ClientMetadataTest, IsNothingThatCannotBePassedOn) {
  EXPECT_EQ(ValueOf({{"word", "123456789"}}), "");
  EXPECT_EQ(ValueOf({{"word", "a\x01g"}}), "");
  EXPECT_EQ(ValueOf({{"word", "\x7f"}}), "");
  EXPECT_EQ(ValueOf({{"word", "\u00e9"}}), "");
}

}  // namespace
}  // namespace thinkwire::rpc
