// WorkerService: what a request may ask for, and what Started says of it.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/worker/serve/output_testing.h"
#include "tests/worker/serve/worker_service_test.h"

namespace thinkwire::worker::serve {
namespace {

TEST_F(WorkerServiceTest, TheModelMayOpenItsThinkingItself) {
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, 4, {'\n', kThink, '\n', 'a', kThinkEnd, 'b', kEos});
  ScriptIds(model, 2, 4, {'\n', 'b', kThink, kEos});
  Serve(std::move(model));
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->mutable_prompt()->set_text(
      "<｜begin▁of▁sentence｜><｜User｜>q<｜Assistant｜>");
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  OutputEvents::Events events = Outputs(responses);
  EXPECT_EQ(StartedOf(responses).first_phase(), v1::PHASE_UNSPECIFIED);
  Joined all = Join(events);
  EXPECT_EQ(all.order, "rRaF");
  EXPECT_EQ(all.reasoning, "a");
  EXPECT_EQ(all.answer, "b");
  EXPECT_EQ(all.finished.tokens().reasoning_tokens(), 5);

  request.mutable_request()->set_seed(2);
  responses.clear();
  EXPECT_TRUE(Generate(request, &responses).ok());
  all = Join(Outputs(responses));
  EXPECT_EQ(all.order, "aF");
  EXPECT_EQ(all.answer, "\nb<think>");
}

TEST_F(WorkerServiceTest, ThinkingModeModelLeavesItToTheModel) {
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, 4, {kThink, 'a', kEos});
  Serve(std::move(model));
  v1::WorkerGenerateRequest request = MakeRequest();
  AskChat("q", request);
  request.mutable_request()->mutable_thinking()->set_mode(v1::THINKING_MODE_MODEL);
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  EXPECT_EQ(StartedOf(responses).first_phase(), v1::PHASE_UNSPECIFIED);
  EXPECT_EQ(Join(Outputs(responses)).reasoning, "a");
}

// Also where the model opens its thinking again, as the distills do now and then.
TEST_F(WorkerServiceTest, ThinkingModeOffNeverLeaks) {
  constexpr int kPromptIds = 10;
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, kPromptIds, {kThink, 'a', kThinkEnd, 'b', kThink, 'c', kEos});
  Serve(std::move(model));
  v1::WorkerGenerateRequest request = MakeRequest();
  AskChat("q", request);
  request.mutable_request()->mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  ASSERT_EQ(responses.at(0).prompt_ids().ids_size(), kPromptIds);
  EXPECT_EQ(StartedOf(responses).first_phase(), v1::PHASE_ANSWER);
  const Joined all = Join(Outputs(responses));
  EXPECT_EQ(all.order, "aF");
  EXPECT_EQ(all.answer, "<think>a</think>b<think>c");
  EXPECT_EQ(all.finished.tokens().reasoning_tokens(), 0);
  EXPECT_EQ(all.finished.tokens().answer_tokens(), 7);
}

TEST_F(WorkerServiceTest, AContinuedMessageMayGoOnThinking) {
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, 6, {'a', kThinkEnd, 'b', kEos});
  Serve(std::move(model));
  v1::WorkerGenerateRequest request = MakeRequest();
  AskChat("q", request);
  v1::Chat& chat = *request.mutable_request()->mutable_prompt()->mutable_chat();
  chat.set_continue_final_message(true);
  v1::ChatMessage& message = *chat.add_messages();
  message.set_role(v1::ROLE_ASSISTANT);
  message.set_content("<think>\n");
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  const auto& ids = responses.at(0).prompt_ids().ids();
  EXPECT_EQ(std::vector<std::int32_t>(ids.begin(), ids.end()),
            (std::vector<std::int32_t>{kBos, kUser, 'q', kAssistant, kThink, '\n'}));
  EXPECT_EQ(StartedOf(responses).first_phase(), v1::PHASE_REASONING);
  EXPECT_EQ(Join(Outputs(responses)).reasoning, "a");
}

TEST_F(WorkerServiceTest, ToolsNeedTheirControlTokens) {
  Serve();
  v1::WorkerGenerateRequest request = MakeRequest();
  AskChat("q", request);
  v1::Chat& chat = *request.mutable_request()->mutable_prompt()->mutable_chat();
  chat.add_messages()->set_role(v1::ROLE_TOOL);
  absl::Status status = Generate(request);
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "prompt.chat.messages[1]");

  v1::ChatMessage& called = *chat.mutable_messages(1);
  called.set_role(v1::ROLE_ASSISTANT);
  called.add_tool_calls()->set_name("f");
  chat.add_messages()->set_role(v1::ROLE_USER);
  status = Generate(request);
  EXPECT_NE(status.message().find("no control tokens"), absl::string_view::npos) << status;
}

TEST_F(WorkerServiceTest, OneKnobSamplesBothPhases) {
  Serve();
  v1::WorkerGenerateRequest request = MakeRequest();
  v1::GenerateRequest& inner = *request.mutable_request();
  inner.set_max_tokens(1);
  inner.mutable_sampling()->set_temperature(0);
  inner.mutable_sampling()->set_top_k(7);
  inner.mutable_answer_sampling()->set_temperature(1);
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  const v1::Started started = StartedOf(responses);
  EXPECT_EQ(started.reasoning_sampling().temperature(), 0);
  EXPECT_EQ(started.answer_sampling().temperature(), 1);
  EXPECT_EQ(started.reasoning_sampling().top_k(), 7);
  EXPECT_EQ(started.answer_sampling().top_k(), 7);
  EXPECT_EQ(started.answer_sampling().top_p(), 0.95F);

  inner.mutable_sampling()->add_stop_token_ids(kVocabulary);
  EXPECT_EQ(rpc::ErrorMetadata(Generate(request), "field"), "sampling.stop_token_ids[0]");
}

TEST_F(WorkerServiceTest, MaxTokensIsClampedWhereThatIsAskedFor) {
  Serve();
  v1::WorkerGenerateRequest request = MakeRequest();
  request.mutable_request()->set_max_tokens(510);
  EXPECT_EQ(Generate(request).code(), absl::StatusCode::kInvalidArgument);
  request.mutable_request()->set_clamp_max_tokens(true);
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  EXPECT_EQ(StartedOf(responses).limits().max_tokens(), 509);
}

}  // namespace
}  // namespace thinkwire::worker::serve
