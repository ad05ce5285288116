// WorkerService: how long it thinks, and what it says meanwhile.
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "common/rpc/attempt_contract.h"
#include "common/rpc/status_details.h"
#include "common/steering_limits.h"
#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/worker_service_test.h"

namespace thinkwire::worker::serve {
namespace {

// Reads a stream to its end, held to the contract.
Responses ReadAll(grpc::ClientReader<v1::WorkerGenerateResponse>& stream,
                  const v1::WorkerGenerateRequest& request) {
  rpc::AttemptContract contract(request, 0, Clock::Real().Now());
  Responses responses;
  v1::WorkerGenerateResponse message;
  while (stream.Read(&message)) {
    const absl::Status status = contract.Add(message, Clock::Real().Now());
    EXPECT_TRUE(status.ok()) << status;
    responses.push_back(message);
  }
  return responses;
}

class SteeringTest : public WorkerServiceTest {
 protected:
  // `letter` over and over.
  void ServeLetters(char letter) {
    engine::FakeModel model(kVocabulary);
    ScriptIds(model, 1, 3, std::vector<std::int32_t>(400, letter));
    Serve(std::move(model));
    worker_->runner.AllowGoingBack();
  }

  Responses Ask(const v1::WorkerGenerateRequest& request, std::chrono::seconds timeout) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    auto stream = stub_->Generate(&context, request);
    Responses responses = ReadAll(*stream, request);
    status_ = rpc::FromGrpc(stream->Finish());
    return responses;
  }

  std::int32_t ReserveOf(const v1::WorkerGenerateRequest& request) {
    Responses responses;
    EXPECT_TRUE(Generate(request, &responses).ok());
    return StartedOf(responses).effective().min_answer_tokens();
  }

  absl::Status status_;
};

template <class Event>
const v1::GenerateResponse* FindEvent(const Responses& responses, Event has) {
  for (const v1::WorkerGenerateResponse& response : responses) {
    if ((response.event().*has)()) return &response.event();
  }
  return nullptr;
}

TEST_F(SteeringTest, WhoLimitsTheTokensHasAShareOfThemKeptForTheAnswer) {
  ServeLetters('h');
  v1::WorkerGenerateRequest request = MakeRequest();
  v1::GenerateRequest& inner = *request.mutable_request();
  inner.set_max_tokens(100);
  EXPECT_EQ(ReserveOf(request), 50);
  inner.set_max_tokens(200);
  EXPECT_EQ(ReserveOf(request), 64);
  inner.set_ignore_eos(true);
  EXPECT_EQ(ReserveOf(request), 0) << "who measures wants the reasoning as it is";
  inner.mutable_thinking()->set_budget_tokens(20);
  EXPECT_EQ(ReserveOf(request), 64);
  inner.set_min_answer_tokens(7);
  EXPECT_EQ(ReserveOf(request), 7);
}

TEST_F(SteeringTest, AnAnswerIsNeverMissingWhereTokensAreKeptForIt) {
  ServeLetters('h');
  for (const std::int32_t most : {2, 3, 4, 7, 30}) {
    v1::WorkerGenerateRequest request = MakeRequest();
    request.mutable_request()->set_max_tokens(most);
    const Responses responses = Ask(request, std::chrono::seconds(60));
    EXPECT_TRUE(status_.ok()) << status_;
    const auto* finished = FindEvent(responses, &v1::GenerateResponse::has_finished);
    ASSERT_NE(finished, nullptr);
    EXPECT_GE(finished->finished().tokens().answer_tokens(), 1) << most;
  }
}

TEST_F(SteeringTest, TheWorkersLoopLimitsHoldWhereTheRequestHasNone) {
  ServeLetters('h');
  worker_->model.thinking.loops = {.max_repeats = 16, .max_period_tokens = 4, .near_share = 0.5F};
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_max_tokens(250);
  Responses responses = Ask(request, std::chrono::seconds(60));
  const v1::LoopLimits told = StartedOf(responses).effective().loop_limits();
  EXPECT_EQ(told.max_repeats(), 16);
  EXPECT_EQ(told.max_period_tokens(), 4);
  EXPECT_EQ(told.near_repetition_share(), 0.5F);
  const auto* reasoned = FindEvent(responses, &v1::GenerateResponse::has_reasoning_finished);
  ASSERT_NE(reasoned, nullptr);
  EXPECT_EQ(reasoned->reasoning_finished().cause(), v1::REASONING_FINISH_CAUSE_LOOP);
  request.mutable_request()->mutable_loop_limits()->set_max_repeats(100);
  responses = Ask(request, std::chrono::seconds(60));
  EXPECT_EQ(StartedOf(responses).effective().loop_limits().max_repeats(), 100);
  EXPECT_FALSE(StartedOf(responses).effective().loop_limits().has_near_repetition_share());
}

TEST_F(SteeringTest, WithoutAnAnswerReasoningEndsWithTheOutput) {
  ServeLetters('h');
  v1::WorkerGenerateRequest request = MakeRequest();
  request.set_end_without_answer(true);
  request.mutable_request()->set_max_tokens(250);
  request.mutable_request()->mutable_loop_limits();
  Responses responses = Ask(request, std::chrono::seconds(60));
  EXPECT_TRUE(status_.ok()) << status_;
  const auto* reasoned = FindEvent(responses, &v1::GenerateResponse::has_reasoning_finished);
  const auto* finished = FindEvent(responses, &v1::GenerateResponse::has_finished);
  ASSERT_TRUE(reasoned != nullptr && finished != nullptr);
  EXPECT_EQ(reasoned->reasoning_finished().cause(), v1::REASONING_FINISH_CAUSE_LOOP);
  EXPECT_TRUE(reasoned->reasoning_finished().token_ids().empty());
  EXPECT_EQ(finished->finished().reason(), v1::FINISH_REASON_LOOP);
  EXPECT_EQ(finished->finished().tokens().reasoning_tokens(), 64);

  request.mutable_request()->clear_loop_limits();
  request.mutable_request()->set_max_tokens(100);
  responses = Ask(request, std::chrono::seconds(60));
  EXPECT_TRUE(status_.ok()) << status_;
  reasoned = FindEvent(responses, &v1::GenerateResponse::has_reasoning_finished);
  ASSERT_NE(reasoned, nullptr);
  EXPECT_EQ(reasoned->reasoning_finished().cause(), v1::REASONING_FINISH_CAUSE_LENGTH);
  EXPECT_LT(reasoned->reasoning_finished().reasoning_tokens(), 50);
}

TEST_F(SteeringTest, WithoutADeadlineNoBudgetFollowsFromIt) {
  ServeLetters('h');
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->mutable_thinking()->set_budget_from_deadline(true);
  const absl::Status status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "thinking.budget_from_deadline");
}

TEST_F(SteeringTest, ADeadlineThatLeavesTimeForNothingElseBringsTheAnswer) {
  ServeLetters('h');
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_max_tokens(250);
  // More than a minute's worth at any speed: the time is the answer's from the first estimate on.
  request.mutable_request()->set_min_answer_tokens(240);
  request.mutable_request()->mutable_thinking()->set_budget_from_deadline(true);
  worker_->runner.CloseGate();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  auto stream = stub_->Generate(&context, request);
  // A first step of a second: 54 tokens' time.
  std::thread gate([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    worker_->runner.OpenGate();
  });
  const Responses responses = ReadAll(*stream, request);
  gate.join();
  EXPECT_TRUE(stream->Finish().ok());
  const auto* reasoned = FindEvent(responses, &v1::GenerateResponse::has_reasoning_finished);
  ASSERT_NE(reasoned, nullptr);
  EXPECT_EQ(reasoned->reasoning_finished().cause(), v1::REASONING_FINISH_CAUSE_DEADLINE);
}

TEST_F(SteeringTest, ALongPromptTellsHowFarItIsWhereThatIsAskedFor) {
  ServeLetters('h');
  worker_->runner.CloseGate();
  v1::WorkerGenerateRequest request = MakeRequest();
  v1::GenerateRequest& inner = *request.mutable_request();
  inner.mutable_prompt()->set_text(std::string(200, 'q'));
  inner.set_max_tokens(5);
  inner.set_progress(true);
  grpc::ClientContext context;
  auto stream = stub_->Generate(&context, request);
  rpc::AttemptContract contract(request, 0, Clock::Real().Now());
  std::vector<v1::Progress> progress;
  std::int32_t prompt_tokens = 0;
  v1::WorkerGenerateResponse message;
  while (stream->Read(&message)) {
    const absl::Status status = contract.Add(message, Clock::Real().Now());
    EXPECT_TRUE(status.ok()) << status;
    if (message.event().has_started()) prompt_tokens = message.event().started().prompt_tokens();
    if (!message.event().has_progress()) continue;
    EXPECT_FALSE(contract.brought_on()) << "it is a sign of life and no more";
    progress.push_back(message.event().progress());
    if (progress.size() == 2) worker_->runner.LetThrough(2);
    if (progress.back().computed_tokens() > progress.front().computed_tokens()) {
      worker_->runner.OpenGate();
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_GE(progress.size(), 3U);
  for (const v1::Progress& at : progress) {
    EXPECT_EQ(at.reason(), v1::SILENCE_REASON_PREFILL);
    EXPECT_EQ(at.total_tokens(), prompt_tokens);
    EXPECT_LT(at.computed_tokens(), prompt_tokens);
  }
}

}  // namespace
}  // namespace thinkwire::worker::serve
