#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_clock.h"
#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/service_fixture.h"
#include "worker/serve/service.h"

namespace thinkwire::worker::serve {

using Responses = std::vector<v1::WorkerGenerateResponse>;

// A served fake worker and a client of it.
class WorkerServiceTest : public testing::Test {
 protected:
  void Serve(engine::FakeModel fake_model = engine::FakeModel(kVocabulary),
             WorkerService::Peers peers = {}, const Clock& clock = Clock::Real()) {
    worker_ = std::make_unique<FakeWorker>(std::move(fake_model), clock);
    worker_->sign_interval = sign_interval_;
    board_ = std::make_unique<StatusBoard>(worker_->engine, worker_->model, worker_->worker_metrics,
                                           rpc::TrustedPeers(), worker_->clock);
    service_ = std::make_unique<WorkerService>(worker_->shared(), worker_->reader, *board_,
                                               std::move(peers));
    auto server = rpc::GrpcServer::Start(
        {.listen = "127.0.0.1:0", .services = {service_.get()}, .health_names = {}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::WorkerService::NewStub(grpc::CreateChannel(
        absl::StrCat("127.0.0.1:", server_->port()), grpc::InsecureChannelCredentials()));
  }

  void TearDown() override {
    worker_->runner.OpenGate();
    worker_->engine.Stop();
    board_->Stop();
    server_->Shutdown(std::chrono::seconds(1));
    worker_->pool.Stop();
  }

  static v1::WorkerGenerateRequest MakeRequest() {
    v1::WorkerGenerateRequest request;
    request.set_request_id("r1");
    request.set_attempt(3);
    v1::GenerateRequest& inner = *request.mutable_request();
    inner.set_variant("fake");
    inner.set_seed(1);
    for (const std::int32_t id : {kBos, std::int32_t{'q'}, kThink}) {
      inner.mutable_prompt()->mutable_token_ids()->add_ids(id);
    }
    return request;
  }

  absl::Status Generate(const v1::WorkerGenerateRequest& request, Responses* responses = nullptr) {
    grpc::ClientContext context;
    auto stream = stub_->Generate(&context, request);
    v1::WorkerGenerateResponse response;
    while (stream->Read(&response)) {
      if (responses != nullptr) responses->push_back(response);
    }
    return rpc::FromGrpc(stream->Finish());
  }

  static void AskChat(const std::string& question, v1::WorkerGenerateRequest& request) {
    v1::ChatMessage& message =
        *request.mutable_request()->mutable_prompt()->mutable_chat()->add_messages();
    message.set_role(v1::ROLE_USER);
    message.set_content(question);
  }

  static v1::Started StartedOf(const Responses& responses) {
    for (const v1::WorkerGenerateResponse& response : responses) {
      if (response.event().has_started()) return response.event().started();
    }
    ADD_FAILURE() << "nothing started";
    return {};
  }

  // The events between Started and Completed.
  static OutputEvents::Events Outputs(const Responses& responses) {
    OutputEvents::Events events;
    for (const v1::WorkerGenerateResponse& response : responses) {
      const v1::GenerateResponse& event = response.event();
      const bool of_output = !event.has_queued() && !event.has_started() && !event.has_completed();
      if (of_output) events.push_back(event);
    }
    return events;
  }

  FakeClock clock_;  // for who wants it
  Clock::Duration sign_interval_ = kSignInterval;
  std::unique_ptr<FakeWorker> worker_;
  std::unique_ptr<StatusBoard> board_;
  std::unique_ptr<WorkerService> service_;
  std::unique_ptr<rpc::GrpcServer> server_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
};

}  // namespace thinkwire::worker::serve
