#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/status_details.h"
#include "router/decision/score_policy.h"
#include "router/service.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fleet/pool_fixture.h"

namespace thinkwire::router {

using Events = std::vector<v1::GenerateResponse>;

inline v1::GenerateRequest Question(const std::string& text = "1+1?") {
  v1::GenerateRequest request;
  request.set_variant("qwen-1.5b");
  auto* message = request.mutable_prompt()->mutable_chat()->add_messages();
  message->set_role(v1::ROLE_USER);
  message->set_content(text);
  return request;
}

// A router of two variants on a free port, with a fake worker each.
class ReasoningServiceTest : public testing::Test {
 protected:
  ReasoningServiceTest() {
    small_.SetScript({.events = SmallStream()});
    large_.SetScript({.events = SmallStream()});
    rpc::GrpcServerOptions options;
    options.listen = "127.0.0.1:0";
    options.services = {&service_};
    server_ = *rpc::GrpcServer::Start(options);
    channel_ = rpc::MakeChannel(absl::StrCat("127.0.0.1:", server_->port()));
    stub_ = v1::ReasoningService::NewStub(channel_);
    EXPECT_TRUE(pool_.TickUntilLive(2));
  }
  ~ReasoningServiceTest() override { server_->Shutdown(std::chrono::seconds(0)); }

  absl::Status Generate(const v1::GenerateRequest& request, Events* events = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto reader = stub_->Generate(&context, request);
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
      if (events != nullptr) events->push_back(event);
    }
    return rpc::FromGrpc(reader->Finish());
  }

  absl::StatusOr<std::int32_t> AnswerNow(const v1::AnswerNowRequest& request) {
    grpc::ClientContext context;
    v1::AnswerNowResponse response;
    const absl::Status status = rpc::FromGrpc(stub_->AnswerNow(&context, request, &response));
    if (!status.ok()) return status;
    return response.outputs();
  }

  // Sends bytes that no stub would.
  absl::Status GenerateRaw(const std::string& bytes) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    std::promise<grpc::Status> done;
    stub.UnaryCall(&context, "/thinkwire.v1.ReasoningService/CountTokens", {}, &request, &response,
                   [&](grpc::Status status) { done.set_value(std::move(status)); });
    return rpc::FromGrpc(done.get_future().get());
  }

  double Metric(const std::string& name, const std::string& label) {
    double sum = 0;
    for (const auto& family : metrics_registry_.Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        for (const auto& pair : metric.label) {
          if (pair.value == label) sum += metric.counter.value;
        }
        if (metric.label.empty()) sum += metric.gauge.value;
      }
    }
    return sum;
  }

  FakeWorker small_{"qwen-1.5b"};
  FakeWorker large_{"qwen-32b"};
  const RouterConfig config_{.variants = {{.name = "qwen-1.5b",
                                           .workers = {small_.address()},
                                           .max_prompt_bytes = 100,
                                           .traits = KnownTraits("qwen-1.5b")},
                                          {.name = "qwen-32b",
                                           .workers = {large_.address()},
                                           .tasks = {Task::kMath},
                                           .traits = KnownTraits("qwen-32b")}}};
  prometheus::Registry metrics_registry_;
  RouterMetrics metrics_{metrics_registry_, {"qwen-1.5b", "qwen-32b"}};
  CurrentCatalog catalog_{std::make_shared<const Catalog>(config_)};
  fleet::PoolUnderTest pool_{config_.variants, Clock::Real()};
  ReasoningService service_{{.catalog = catalog_,
                             .pool = *pool_,
                             .metrics = metrics_,
                             .clock = Clock::Real(),
                             .resume_wait = {},  // there is no other worker to wait for
                             .version = "1.2.3 (commit unknown)"}};
  std::unique_ptr<rpc::GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::ReasoningService::Stub> stub_;
};

}  // namespace thinkwire::router
