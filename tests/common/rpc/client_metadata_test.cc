#include "common/rpc/client_metadata.h"

#include <grpcpp/support/server_callback.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/server_call.h"
#include "tests/fakes/raw_http2.h"

namespace thinkwire::rpc {
namespace {

// Ends with `text` as the text of an error.
class TellCall final : public ServerCall {
 public:
  explicit TellCall(std::string text) : ServerCall(1), text_(std::move(text)) {}

 private:
  void OnMessage(grpc::ByteBuffer /*message*/) override { Finish(absl::AbortedError(text_)); }

  const std::string text_;
};

class ValueTeller final : public RawService {
 public:
  ValueTeller() {
    AddMethod("test.Values", "Tell", [](const grpc::CallbackServerContext& context) {
      return std::make_shared<TellCall>(ClientMetadata(context, "word", 8));
    });
  }
};

class ClientMetadataTest : public testing::Test {
 protected:
  std::string ValueOf(const RawHttp2::Headers& headers) {
    RawHttp2 client({.port = server_->port()});
    const std::uint32_t call = client.Call("/test.Values/Tell", "", headers);
    EXPECT_TRUE(client.ReadUntilOver(call));
    return std::string(client.stream(call).Status().message());
  }

  ValueTeller teller_;
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
