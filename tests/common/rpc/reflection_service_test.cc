#include "common/rpc/reflection_service.h"

#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/status_details.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "tests/fakes/raw_http2.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::FileDescriptorProto;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

constexpr char kInfo[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

class ReflectionServiceTest : public testing::Test {
 protected:
  explicit ReflectionServiceTest(GrpcServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    server_ = *GrpcServer::Start(options);
  }

  RawHttp2::Options From(const std::string& source) const {
    return {.port = server_->port(), .source = source};
  }

  static std::string ListServices() {
    ServerReflectionRequest request;
    request.set_list_services("*");
    return request.SerializeAsString();
  }
  static absl::Status End(RawHttp2& client, std::uint32_t call) {
    EXPECT_TRUE(client.ReadUntilOver(call));
    return client.stream(call).Status();
  }

  std::unique_ptr<GrpcServer> server_;
};

TEST_F(ReflectionServiceTest, AnswersEachKindOfQuestionOnOneStream) {
  const auto stub =
      ServerReflection::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", server_->port())));
  grpc::ClientContext context;
  const auto stream = stub->ServerReflectionInfo(&context);
  const auto ask = [&](const auto& set) {
    ServerReflectionRequest request;
    request.set_host("here");
    set(request);
    ServerReflectionResponse response;
    EXPECT_TRUE(stream->Write(request));
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.valid_host(), "here");
    EXPECT_EQ(response.original_request().SerializeAsString(), request.SerializeAsString());
    return response;
  };
  const auto listed = ask([](auto& request) { request.set_list_services(""); });
  ASSERT_EQ(listed.list_services_response().service_size(), 2);
  EXPECT_EQ(listed.list_services_response().service(0).name(), "grpc.health.v1.Health");
  EXPECT_EQ(listed.list_services_response().service(1).name(),
            "grpc.reflection.v1alpha.ServerReflection");

  const std::string health = "grpc/health/v1/health.proto";
  for (const ServerReflectionResponse& response :
       {ask([&](auto& request) { request.set_file_by_filename(health); }), ask([](auto& request) {
          request.set_file_containing_symbol("grpc.health.v1.Health.Check");
        })}) {
    ASSERT_EQ(response.file_descriptor_response().file_descriptor_proto_size(), 1);
    FileDescriptorProto file;
    EXPECT_TRUE(file.ParseFromString(response.file_descriptor_response().file_descriptor_proto(0)));
    EXPECT_EQ(file.name(), health);
  }
  // It imports another one, which comes with it.
  const auto rpc_status =
      ask([](auto& request) { request.set_file_containing_symbol("google.rpc.Status"); });
  EXPECT_EQ(rpc_status.file_descriptor_response().file_descriptor_proto_size(), 2);

  const auto extensions = ask([](auto& request) {
    request.set_all_extension_numbers_of_type("grpc.health.v1.HealthCheckRequest");
  });
  EXPECT_EQ(extensions.all_extension_numbers_response().base_type_name(),
            "grpc.health.v1.HealthCheckRequest");
  EXPECT_EQ(extensions.all_extension_numbers_response().extension_number_size(), 0);

  for (const ServerReflectionResponse& response :
       {ask([](auto& request) { request.set_file_by_filename("none.proto"); }),
        ask([](auto& request) { request.set_file_containing_symbol("none"); }),
        ask([](auto& request) { request.mutable_file_containing_extension(); }),
        ask([](auto& request) { request.set_all_extension_numbers_of_type("none"); })}) {
    EXPECT_EQ(response.error_response().error_code(), grpc::NOT_FOUND);
  }
  EXPECT_EQ(ask([](auto& /*request*/) {}).error_response().error_code(), grpc::UNIMPLEMENTED);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ReflectionServiceTest, OneClientCannotHaveAllStreams) {
  RawHttp2 greedy(From("127.0.0.2"));
  std::vector<std::uint32_t> calls;
  for (std::int64_t i = 0; i < kMaxReflections; ++i) {
    calls.push_back(greedy.OpenCall(kInfo));
    greedy.SendData(calls.back(), RawHttp2::GrpcMessage(ListServices()), /*end=*/false);
    // A busy server may take up a later call first.
    EXPECT_TRUE(greedy.ReadUntil([&] {
      const RawHttp2::Stream& stream = greedy.stream(calls.back());
      return stream.over() || !stream.data.empty();
    }));
  }
  const absl::Status refused = End(greedy, calls.back());
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(refused), "TOO_MANY_REFLECTIONS");
  EXPECT_FALSE(greedy.stream(calls.front()).over());
  RawHttp2 other(From("127.0.0.3"));
  EXPECT_TRUE(End(other, other.Call(kInfo, ListServices())).ok());
  greedy.Reset(calls.front());
  while (ErrorReason(End(greedy, greedy.Call(kInfo, ListServices()))) == "TOO_MANY_REFLECTIONS") {
  }
}

TEST_F(ReflectionServiceTest, WhoDoesNotReadTheAnswersIsEnded) {
  RawHttp2::Options options = From("127.0.0.2");
  options.window = 0;
  RawHttp2 client(options);
  const std::uint32_t call = client.OpenCall(kInfo);
  ServerReflectionRequest request;  // for a file of many KB
  request.set_file_containing_symbol("google.protobuf.FileDescriptorProto");
  constexpr std::size_t kQuestions = 500;
  for (std::size_t i = 0; i < kQuestions; ++i) {
    client.SendData(call, RawHttp2::GrpcMessage(request.SerializeAsString()), /*end=*/false);
  }
  // Once the server has come so far; an error needs no window.
  EXPECT_FALSE(End(client, client.Call("/nobody/Knows", "")).ok());
  client.OpenWindow(call, 1 << 30);
  EXPECT_EQ(ErrorReason(End(client, call)), "ANSWERS_NOT_READ");
  EXPECT_LT(client.stream(call).Messages().size(), kQuestions / 2);
}

TEST_F(ReflectionServiceTest, LongQuestionsAreNotEchoed) {
  RawHttp2 client(From("127.0.0.2"));
  ServerReflectionRequest request;
  request.set_list_services(std::string(kMaxReflectionBytes, 'x'));
  EXPECT_EQ(ErrorReason(End(client, client.Call(kInfo, request.SerializeAsString()))),
            "MESSAGE_TOO_LARGE");
}

class SilentReflectionTest : public ReflectionServiceTest {
 protected:
  SilentReflectionTest() : ReflectionServiceTest(ShortPatience()) {}
  static GrpcServerOptions ShortPatience() {
    GrpcServerOptions options;
    options.message_timeout = std::chrono::milliseconds(500);
    return options;
  }
};

TEST_F(SilentReflectionTest, AStreamThatAsksNoMoreIsEnded) {
  RawHttp2 client(From("127.0.0.2"));
  const std::uint32_t call = client.OpenCall(kInfo);
  client.SendData(call, RawHttp2::GrpcMessage(ListServices()), /*end=*/false);
  EXPECT_EQ(ErrorReason(End(client, call)), "MESSAGE_TIMEOUT");
  EXPECT_EQ(client.stream(call).Messages().size(), 1u);
}

}  // namespace
}  // namespace thinkwire::rpc
