// By what a client, its errors and our logs call a request.

#include "common/rpc/request_id.h"

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <string>

#include "common/rpc/status_details.h"
#include "tests/router/service_fixture.h"

namespace thinkwire::router {
namespace {

// What a call's beginning says under `key`; empty: nothing.
std::string BeginningOf(const grpc::ClientContext& context, const std::string& key) {
  const auto& metadata = context.GetServerInitialMetadata();
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

TEST_F(ReasoningServiceTest, EveryRequestHasAnIdThatItsCallerHears) {
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "order-17");
  const auto reader = stub_->Generate(&context, Question());
  Events events;
  for (v1::GenerateResponse event; reader->Read(&event);) events.push_back(event);
  ASSERT_TRUE(reader->Finish().ok());
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(BeginningOf(context, "thinkwire-request-id"), events[1].started().request_id());
  EXPECT_EQ(events[1].started().request_id().size(), 32u);
  EXPECT_EQ(BeginningOf(context, "x-request-id"), "order-17");
}

TEST_F(ReasoningServiceTest, SoHasOneThatIsRefusedHoweverLargeItIs) {
  v1::GenerateRequest nobody = Question();
  nobody.set_variant("nobody");
  const v1::GenerateRequest large = Question(std::string(3 << 20, 'x'));
  for (const v1::GenerateRequest& request : {nobody, large}) {
    grpc::ClientContext context;
    const auto reader = stub_->Generate(&context, request);
    v1::GenerateResponse event;
    EXPECT_FALSE(reader->Read(&event));
    const absl::Status status = rpc::FromGrpc(reader->Finish());
    ASSERT_FALSE(status.ok());
    const std::string id = BeginningOf(context, "thinkwire-request-id");
    EXPECT_EQ(id.size(), 32u) << status;
    EXPECT_EQ(rpc::ErrorMetadata(status, "request_id"), id) << status;
    EXPECT_EQ(BeginningOf(context, "x-request-id"), "");
  }
  v1::CountTokensRequest count;
  *count.mutable_prompt() = large.prompt();
  v1::CountTokensResponse answer;
  grpc::ClientContext context;
  const absl::Status status = rpc::FromGrpc(stub_->CountTokens(&context, count, &answer));
  EXPECT_EQ(rpc::ErrorReason(status), "MESSAGE_TOO_LARGE");
  EXPECT_EQ(rpc::ErrorMetadata(status, "request_id"), BeginningOf(context, "thinkwire-request-id"));
}

TEST_F(ReasoningServiceTest, IdsOfClientsAreShortAndPrintableOrNone) {
  for (const std::string& id : {std::string(129, 'x'), std::string("a b")}) {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", id);
    const auto reader = stub_->Generate(&context, Question());
    for (v1::GenerateResponse event; reader->Read(&event);) {
    }
    EXPECT_TRUE(reader->Finish().ok());
    EXPECT_EQ(BeginningOf(context, "x-request-id"), "");
    EXPECT_EQ(BeginningOf(context, "thinkwire-request-id").size(), 32u);
  }
}

}  // namespace
}  // namespace thinkwire::router
