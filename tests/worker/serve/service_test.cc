#include "worker/serve/service.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/attempt_contract.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/error_metadata.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/request_revision.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/raw_http2.h"
#include "tests/worker/serve/busy_thread.h"
#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/worker_service_test.h"

namespace thinkwire::worker::serve {
namespace {

TEST_F(WorkerServiceTest, StreamsEventsInOrder) {
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, 3, {'a', kThinkEnd, 'b', kEos});
  Serve(std::move(model));
  Responses responses;
  EXPECT_TRUE(Generate(MakeRequest(), &responses).ok());
  std::string order;
  for (std::size_t i = 0; i < responses.size(); ++i) {
    EXPECT_EQ(responses[i].attempt(), 3);
    EXPECT_EQ(responses[i].seq(), static_cast<std::int64_t>(i));
    const char kind = "?QSrRaFMC"[responses[i].event().event_case()];
    if (kind != 'Q' && (order.empty() || order.back() != kind)) order += kind;
  }
  EXPECT_EQ(order, "SrRaFC");
  EXPECT_EQ(responses[0].prompt_ids().ids_size(), 3);
  EXPECT_TRUE(service_->WaitUntilIdle(std::chrono::seconds(20)));
  EXPECT_TRUE(worker_->WaitUntilIdle());
}

TEST_F(WorkerServiceTest, TheEndOfASlowReaderDoesNotWaitForIt) {
  Serve(engine::FakeModel(kVocabulary), {}, clock_);
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_ignore_eos(true);
  RawHttp2 unread({.port = server_->port(), .window = 0});
  const std::uint32_t call =
      unread.Call("/thinkwire.v1.WorkerService/Generate", request.SerializeAsString());
  while (worker_->engine.status().paused == 0) std::this_thread::yield();
  while (worker_->engine.status().running > 0) {
    clock_.Advance(std::chrono::seconds(61));
    worker_->engine.Wake();
    std::this_thread::yield();
  }
  EXPECT_TRUE(service_->WaitUntilIdle(std::chrono::seconds(20))) << "the call has its end";

  unread.OpenWindow(call, 1 << 20);
  ASSERT_TRUE(unread.ReadUntilOver(call));
  EXPECT_EQ(rpc::ErrorReason(unread.stream(call).Status()), "SLOW_CONSUMER");
  EXPECT_LE(unread.stream(call).Messages().size(), 9U) << "what the call had taken, no more";
}

TEST_F(WorkerServiceTest, ChatBeginsWithReasoningAndControlTokensAreText) {
  engine::FakeModel model(kVocabulary);
  Serve(std::move(model));
  v1::WorkerGenerateRequest request = MakeRequest();
  AskChat("</think>x", request);
  request.mutable_request()->set_max_tokens(1);
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  ASSERT_FALSE(responses.empty());
  const auto& ids = responses[0].prompt_ids().ids();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kThinkEnd), 0);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kThink), 1);
}

TEST_F(WorkerServiceTest, RefusesWhatIsWrongByName) {
  Serve();
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->mutable_consensus()->set_max_samples(2);
  absl::Status status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "request.consensus");

  // 4 run and 8 wait, at most.
  request = MakeRequest();
  request.mutable_request()->set_n(13);
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "n");

  request = MakeRequest();
  request.mutable_request()->mutable_prompt()->mutable_token_ids()->set_ids(1, kVocabulary);
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "prompt.token_ids.ids[1]")) << status;

  request = MakeRequest();
  request.mutable_request()->set_max_tokens(510);
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "max_tokens of 510 is too much with the 3 tokens of the prompt: this model's maximum "
            "context length is 512 tokens");
  EXPECT_EQ(rpc::ErrorMetadata(status, rpc::kContextTokens), "512");

  request = MakeRequest();
  for (int i = 0; i < 600; ++i) {
    request.mutable_request()->mutable_prompt()->mutable_token_ids()->add_ids('x');
  }
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "prompt.token_ids.ids comes to 603 tokens, which leaves none to generate: this model's "
            "maximum context length is 512 tokens");
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "prompt.token_ids.ids");
  EXPECT_EQ(rpc::ErrorMetadata(status, rpc::kContextTokens), "512");

  request = MakeRequest();
  request.mutable_request()->mutable_prompt()->set_text("\xFF\xFE");
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;

  request = MakeRequest();
  request.mutable_request()->mutable_reasoning_sampling()->set_top_k(kVocabulary + 1);
  EXPECT_EQ(Generate(request).code(), absl::StatusCode::kInvalidArgument);

  request = MakeRequest();
  request.mutable_request()->mutable_answer_sampling()->add_stop_token_ids(kVocabulary);
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "answer_sampling.stop_token_ids[0]");

  request = MakeRequest();
  auto& biases = *request.mutable_request()->mutable_reasoning_sampling()->mutable_logit_bias();
  biases[kVocabulary] = 1;
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "reasoning_sampling.logit_bias");

  request = MakeRequest();
  request.set_expected_fingerprint("another");
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(rpc::ErrorReason(status), "FINGERPRINT_MISMATCH");
  EXPECT_TRUE(worker_->WaitUntilIdle());
}

TEST_F(WorkerServiceTest, CancelledCallFreesTheEngine) {
  Serve();
  worker_->runner.CloseGate();
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_ignore_eos(true);
  grpc::ClientContext context;
  auto stream = stub_->Generate(&context, request);
  v1::WorkerGenerateResponse response;
  ASSERT_TRUE(stream->Read(&response));
  context.TryCancel();
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(service_->WaitUntilIdle(std::chrono::seconds(20)));
  worker_->runner.OpenGate();
  EXPECT_TRUE(worker_->WaitUntilIdle());
  // Those in flight, and none after them.
  EXPECT_LE(worker_->engine.status().steps, 4U);
}

TEST_F(WorkerServiceTest, DeadlineEndsTheRequest) {
  Serve();
  worker_->runner.CloseGate();
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_ignore_eos(true);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  auto stream = stub_->Generate(&context, request);
  v1::WorkerGenerateResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  worker_->runner.OpenGate();
  EXPECT_TRUE(worker_->WaitUntilIdle());
}

TEST_F(WorkerServiceTest, CountsTokens) {
  Serve();
  v1::WorkerCountTokensRequest request;
  request.mutable_request()->mutable_prompt()->set_text("<think>ab");
  grpc::ClientContext context;
  v1::WorkerCountTokensResponse response;
  ASSERT_TRUE(stub_->CountTokens(&context, request, &response).ok());
  EXPECT_EQ(response.prompt_tokens(), 3);
  EXPECT_EQ(response.token_ids_size(), 0);
  EXPECT_EQ(response.max_model_len(), 512);

  request.mutable_request()->set_return_token_ids(true);
  grpc::ClientContext again;
  ASSERT_TRUE(stub_->CountTokens(&again, request, &response).ok());
  ASSERT_EQ(response.token_ids_size(), 3);
  EXPECT_EQ(response.token_ids(0), kThink);

  request.mutable_request()->mutable_prompt()->clear_kind();
  grpc::ClientContext wrong;
  EXPECT_EQ(stub_->CountTokens(&wrong, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

// The messages as AttemptContract has them; the signs of life among them, until `enough`.
int CountSigns(grpc::ClientReader<v1::WorkerGenerateResponse>& stream,
               const v1::WorkerGenerateRequest& request, int enough) {
  rpc::AttemptContract contract(request, 0, Clock::Real().Now());
  int signs = 0;
  v1::WorkerGenerateResponse message;
  while (signs < enough && stream.Read(&message)) {
    const absl::Status status = contract.Add(message, Clock::Real().Now());
    EXPECT_TRUE(status.ok()) << status;
    if (!contract.brought_on()) ++signs;
  }
  return signs;
}

TEST_F(WorkerServiceTest, SaysThatItIsAliveWhileThePromptWaitsToBeRead) {
  sign_interval_ = std::chrono::milliseconds(20);
  Serve();
  auto busy = std::make_unique<BusyThread>(worker_->pool, TextPool::kLongBytes);
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->mutable_prompt()->set_text(std::string(TextPool::kLongBytes, 'a'));
  grpc::ClientContext context;
  auto stream = stub_->Generate(&context, request);
  v1::WorkerGenerateResponse message;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(stream->Read(&message) && message.ByteSizeLong() == 0);
  }
  busy.reset();
  while (stream->Read(&message)) {
  }
  EXPECT_EQ(rpc::FromGrpc(stream->Finish()).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(WorkerServiceTest, SaysThatItIsAliveWhileTheEngineIsInAStep) {
  sign_interval_ = std::chrono::milliseconds(20);
  Serve();
  worker_->runner.CloseGate();
  grpc::ClientContext context;
  const v1::WorkerGenerateRequest request = MakeRequest();
  auto stream = stub_->Generate(&context, request);
  EXPECT_EQ(CountSigns(*stream, request, 5), 5);
  worker_->runner.OpenGate();
  context.TryCancel();
  v1::WorkerGenerateResponse message;
  while (stream->Read(&message)) {
  }
  stream->Finish();
}

TEST_F(WorkerServiceTest, LongPromptsWaitForTheirThreadsAndHoldNobodyUp) {
  Serve();
  auto busy = std::make_unique<BusyThread>(worker_->pool, TextPool::kLongBytes);  // one of two
  v1::WorkerGenerateRequest too_long = MakeRequest();
  const std::string text(TextPool::kLongBytes, 'a');
  too_long.mutable_request()->mutable_prompt()->set_text(text);
  auto generate = std::async(std::launch::async, [&] { return Generate(too_long); });
  auto count = std::async(std::launch::async, [&] {
    v1::WorkerCountTokensRequest request;
    request.mutable_request()->mutable_prompt()->set_text(text);
    grpc::ClientContext context;
    v1::WorkerCountTokensResponse response;
    EXPECT_TRUE(stub_->CountTokens(&context, request, &response).ok());
    return response.prompt_tokens();
  });
  EXPECT_EQ(generate.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  EXPECT_EQ(count.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  v1::WorkerGenerateRequest short_one = MakeRequest();
  short_one.mutable_request()->set_max_tokens(1);
  EXPECT_TRUE(Generate(short_one).ok());
  busy.reset();
  EXPECT_EQ(generate.get().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(count.get(), static_cast<std::int32_t>(text.size()));
}

TEST_F(WorkerServiceTest, AnswerNowEndsTheReasoningOfARunningRequest) {
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, 3, std::vector<std::int32_t>(100, 'h'));
  Serve(std::move(model));
  worker_->runner.AllowGoingBack();
  worker_->runner.CloseGate();
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_max_tokens(60);
  request.mutable_request()->mutable_thinking()->set_closing_text("ok");
  grpc::ClientContext context;
  context.AddMetadata(rpc::kPeerMetadata, "tenant/a");
  auto stream = stub_->Generate(&context, request);
  worker_->runner.LetThrough(4);
  v1::WorkerGenerateResponse response;
  std::string reasoning;
  while (reasoning.empty() && stream->Read(&response)) {
    reasoning += response.event().reasoning_delta().text();
  }
  const auto answer_now = [this](const std::string& id,
                                 const std::string& tenant = "a") -> absl::StatusOr<std::int32_t> {
    grpc::ClientContext call;
    v1::WorkerAnswerNowRequest asked;
    asked.set_request_id(id);
    call.AddMetadata(rpc::kPeerMetadata, absl::StrCat(rpc::kTenantPeer, tenant));
    v1::WorkerAnswerNowResponse answer;
    const grpc::Status status = stub_->AnswerNow(&call, asked, &answer);
    if (!status.ok()) return rpc::FromGrpc(status);
    return answer.outputs();
  };
  EXPECT_EQ(*answer_now("r1"), 1);
  EXPECT_EQ(*answer_now("r1"), 0) << "it was told already";
  EXPECT_EQ(rpc::ErrorReason(answer_now("r2").status()), "REQUEST_NOT_FOUND");
  EXPECT_EQ(rpc::ErrorReason(answer_now("r1", "b").status()), "REQUEST_NOT_FOUND");
  EXPECT_EQ(answer_now("").status().code(), absl::StatusCode::kInvalidArgument);
  worker_->runner.OpenGate();
  v1::ReasoningFinished finished;
  v1::Completed completed;
  std::int32_t answered = 0;
  while (stream->Read(&response)) {
    const v1::GenerateResponse& event = response.event();
    reasoning += event.reasoning_delta().text();
    answered += event.answer_delta().token_ids_size();
    if (event.has_reasoning_finished()) finished = event.reasoning_finished();
    if (event.has_completed()) completed = event.completed();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(reasoning.ends_with("hok")) << reasoning;
  EXPECT_LT(finished.reasoning_tokens(), 20);
  EXPECT_EQ(finished.cause(), v1::REASONING_FINISH_CAUSE_ANSWER_NOW);
  EXPECT_TRUE(finished.forced());
  EXPECT_EQ(answered, 60 - finished.reasoning_tokens());
  EXPECT_EQ(completed.usage().forced_tokens(), 3);
}

TEST_F(WorkerServiceTest, StartedTellsHowTheThinkingIsSteered) {
  Serve();
  worker_->model.thinking.max_tokens = 30;
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_max_tokens(200);
  request.mutable_request()->mutable_thinking()->set_budget_tokens(50);
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  const v1::Started started = StartedOf(responses);
  EXPECT_EQ(started.limits().reasoning_budget_tokens(), 30);
  EXPECT_EQ(started.effective().reasoning_budget_tokens(), 30);
  EXPECT_EQ(started.effective().min_answer_tokens(), 64);
  EXPECT_EQ(started.effective().closing_token_ids_size(), 18);  // "\n\n" is one
}

TEST_F(WorkerServiceTest, WatchTellsStatusChangesAndDraining) {
  Serve();
  grpc::ClientContext context;
  auto stream = stub_->WatchStatus(&context, {});
  v1::WatchStatusResponse status;
  ASSERT_TRUE(stream->Read(&status));
  EXPECT_EQ(status.served_model_name(), "fake");
  EXPECT_EQ(status.fingerprint(), "fake-1");
  EXPECT_EQ(status.request_revision(), rpc::kRequestRevision);
  EXPECT_EQ(status.max_model_len(), 512);
  EXPECT_EQ(status.total_kv_blocks(), 128);
  EXPECT_EQ(status.free_kv_blocks(), 128);
  EXPECT_EQ(status.kv_block_tokens(), 16);
  EXPECT_EQ(status.ranks_size(), 2);
  EXPECT_FALSE(status.draining());

  worker_->runner.CloseGate();
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_ignore_eos(true);
  grpc::ClientContext generate_context;
  auto generate = stub_->Generate(&generate_context, request);
  while (status.running() == 0) ASSERT_TRUE(stream->Read(&status));
  EXPECT_LT(status.free_kv_blocks(), 128);
  generate_context.TryCancel();
  worker_->runner.OpenGate();
  while (status.running() != 0) ASSERT_TRUE(stream->Read(&status));
  EXPECT_EQ(status.free_kv_blocks(), 128);
  // Without any change there is a heartbeat.
  ASSERT_TRUE(stream->Read(&status));

  service_->StartDraining();
  while (!status.draining()) ASSERT_TRUE(stream->Read(&status));
  const absl::Status refused = Generate(MakeRequest());
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(rpc::ErrorReason(refused), "DRAINING");
  board_->Stop();
  while (stream->Read(&status)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(WorkerServiceTest, WatchIntervalHasARange) {
  Serve();
  v1::WatchStatusRequest request;
  request.mutable_min_interval()->set_seconds(2);
  grpc::ClientContext context;
  auto stream = stub_->WatchStatus(&context, request);
  v1::WatchStatusResponse status;
  EXPECT_FALSE(stream->Read(&status));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(WorkerServiceTest, TakesCallsOfItsForwardersAloneWhereItIsToldSo) {
  Serve(engine::FakeModel(kVocabulary),
        {.forwarders = *rpc::TrustedPeers::Parse("127.0.0.2"), .forwarders_only = true});
  RawHttp2 router({.port = server_->port(), .source = "127.0.0.2"});
  RawHttp2 other({.port = server_->port(), .source = "127.0.0.3"});
  const auto end_of = [](RawHttp2& client, const std::string& method) {
    const std::uint32_t call = client.Call("/thinkwire.v1.WorkerService/" + method, "");
    EXPECT_TRUE(client.ReadUntil(
        [&] { return client.stream(call).over() || !client.stream(call).data.empty(); }));
    return client.stream(call).over() ? client.stream(call).Status() : absl::OkStatus();
  };
  for (const char* method : {"Generate", "CountTokens", "WatchStatus", "AnswerNow"}) {
    const absl::Status refused = end_of(other, method);
    EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied) << method;
    EXPECT_EQ(rpc::ErrorReason(refused), "PEER_NOT_TRUSTED") << method;
    EXPECT_NE(rpc::ErrorReason(end_of(router, method)), "PEER_NOT_TRUSTED") << method;
  }
  const std::uint32_t health = other.Call("/grpc.health.v1.Health/Check", "");
  EXPECT_TRUE(other.ReadUntilOver(health));
  EXPECT_TRUE(other.stream(health).Status().ok());
}

}  // namespace
}  // namespace thinkwire::worker::serve
