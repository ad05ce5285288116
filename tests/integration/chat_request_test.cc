// What a request may say of its prompt and of how it is drawn, asked of router and worker as
// processes with the bundled model.
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "tests/integration/model_copy.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

constexpr char kQuestion[] = "What is 27+48?";

std::string Model() { return absl::StrCat("--model=", kTinyModel); }

v1::GenerateRequest Greedy() {
  v1::GenerateRequest request;
  request.mutable_sampling()->set_temperature(0);
  request.set_seed(1);
  return request;
}

v1::GenerateRequest GreedyChat() {
  v1::GenerateRequest request = Greedy();
  v1::ChatMessage& message = *request.mutable_prompt()->mutable_chat()->add_messages();
  message.set_role(v1::ROLE_USER);
  message.set_content(kQuestion);
  return request;
}

// One stream, read through the router, which holds it to the contract.
struct Answer {
  v1::Started started;
  std::string reasoning, answer;
  std::int32_t reasoning_tokens = 0;
};

class ChatRequestTest : public testing::Test {
 protected:
  Answer Read(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    const auto reader = router_.stub().Generate(&context, request);
    Answer all;
    for (v1::GenerateResponse event; reader->Read(&event);) {
      if (event.has_started()) all.started = event.started();
      all.reasoning += event.reasoning_delta().text();
      all.answer += event.answer_delta().text();
      if (event.has_finished()) all.reasoning_tokens = event.finished().tokens().reasoning_tokens();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return all;
  }

  WorkerProcess worker_{{Model()}};
  RouterProcess router_{"tiny-r1", absl::StrCat("127.0.0.1:", worker_.port())};
};

TEST_F(ChatRequestTest, TheModelOpensItsThinkingItself) {
  const Answer forced = Read(GreedyChat());
  EXPECT_EQ(forced.started.first_phase(), v1::PHASE_REASONING);
  ASSERT_FALSE(forced.reasoning.empty());

  v1::GenerateRequest by_mode = GreedyChat();
  by_mode.mutable_thinking()->set_mode(v1::THINKING_MODE_MODEL);
  v1::GenerateRequest raw = Greedy();
  raw.mutable_prompt()->set_text(
      absl::StrCat("<｜begin▁of▁sentence｜><｜User｜>", kQuestion, "<｜Assistant｜>"));
  for (const v1::GenerateRequest& request : {by_mode, raw}) {
    const Answer open = Read(request);
    EXPECT_EQ(open.started.first_phase(), v1::PHASE_UNSPECIFIED);
    EXPECT_EQ(open.reasoning, forced.reasoning);
    EXPECT_EQ(open.answer, forced.answer);
    // `<think>` and the line feed after it are the model's now.
    EXPECT_EQ(open.reasoning_tokens, forced.reasoning_tokens + 2);
  }
}

TEST_F(ChatRequestTest, PenaltiesCountWhatTheModelOpened) {
  v1::GenerateRequest request = GreedyChat();
  request.mutable_thinking()->set_mode(v1::THINKING_MODE_MODEL);
  request.mutable_sampling()->set_frequency_penalty(0.5);
  request.mutable_sampling()->set_repetition_penalty(1.1F);
  request.set_max_tokens(60);
  const Answer once = Read(request);
  EXPECT_FALSE(once.reasoning.empty());
  const Answer again = Read(request);
  EXPECT_EQ(again.reasoning, once.reasoning);
  EXPECT_EQ(again.answer, once.answer);
}

TEST_F(ChatRequestTest, AnAssistantsMessageIsGoneOnWith) {
  v1::GenerateRequest request = GreedyChat();
  v1::Chat& chat = *request.mutable_prompt()->mutable_chat();
  v1::ChatMessage& message = *chat.add_messages();
  message.set_role(v1::ROLE_ASSISTANT);
  message.set_content("<think>\n");
  grpc::ClientContext context;
  const auto reader = router_.stub().Generate(&context, request);
  v1::GenerateResponse event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_NE(reader->Finish().error_message().find("continue_final_message"), std::string::npos);

  chat.set_continue_final_message(true);
  const Answer forced = Read(GreedyChat());
  const Answer continued = Read(request);
  EXPECT_EQ(continued.started.first_phase(), v1::PHASE_REASONING);
  EXPECT_EQ(continued.reasoning, forced.reasoning);
  EXPECT_EQ(continued.answer, forced.answer);
}

TEST_F(ChatRequestTest, MaxTokensIsClampedWhereThatIsAskedFor) {
  v1::GenerateRequest request = GreedyChat();
  request.set_max_tokens(1 << 20);
  request.set_clamp_max_tokens(true);
  const v1::Limits limits = Read(request).started.limits();
  EXPECT_LT(limits.max_tokens(), limits.max_model_len());
}

TEST(AdvertisedContextTest, IsWhatTheKvCacheHolds) {
  constexpr int kHeld = 16 * 16 + 1;  // sixteen blocks, and the last token, which needs no place
  WorkerProcess worker(
      {Model(), "--kv_cache_memory_bytes=3145728", "--enable_prefix_caching=false"});
  ASSERT_TRUE(worker.listening());
  const RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  v1::GenerateRequest request = AskGreedily(kQuestion);
  const Generation all = worker.Generate(request);
  EXPECT_EQ(all.started.limits().max_model_len(), kHeld);

  v1::WorkerCountTokensRequest count;
  *count.mutable_request()->mutable_prompt() = request.prompt();
  v1::WorkerCountTokensResponse counted;
  grpc::ClientContext context;
  EXPECT_TRUE(worker.stub().CountTokens(&context, count, &counted).ok());
  EXPECT_EQ(counted.max_model_len(), kHeld);
  EXPECT_NE(worker.process().error().find(absl::StrCat("holds ", kHeld, " tokens")),
            std::string::npos)
      << worker.process().error();
}

TEST(GenerationConfigTest, SaysWhatRequestsLeaveOpen) {
  const ModelCopy model;
  model.Change("generation_config.json", [](nlohmann::json& config) {
    config["temperature"] = 1.25;
    config["top_k"] = 7;
  });
  v1::GenerateRequest request = Ask(kQuestion, 1);
  request.set_max_tokens(1);
  request.mutable_answer_sampling()->set_top_k(3);
  for (const bool obeyed : {true, false}) {
    WorkerProcess worker(
        {model.Option(), absl::StrCat("--generation_config=", obeyed ? "auto" : "none")});
    ASSERT_TRUE(worker.listening());
    const v1::Started started = worker.Generate(request).started;
    EXPECT_EQ(started.reasoning_sampling().temperature(), obeyed ? 1.25F : 0.6F);
    EXPECT_EQ(started.reasoning_sampling().top_k(), obeyed ? 7 : 0);
    EXPECT_EQ(started.answer_sampling().top_k(), 3);
  }
}

TEST(CheckpointTemplateTest, AnotherIsRefusedUnlessTheBuiltinOneIsWanted) {
  const ModelCopy model;
  model.Change("tokenizer_config.json", [](nlohmann::json& config) {
    config["chat_template"] = "{% for m in messages %}[{{ m['role'] }}]{% endfor %}";
  });
  const std::string refusal =
      LastWordOf(kWorker, "thinkwire-worker", {model.Option(), "--check_config"});
  EXPECT_NE(refusal.find("chat_template"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("at {% for m in messages %}"), std::string::npos) << refusal;
  Process any({kWorker, model.Option(), "--check_config", "--chat_template=builtin"});
  EXPECT_EQ(any.Wait(), 0) << any.error();
  EXPECT_NE(any.error().find("at {% for m in messages %}"), std::string::npos) << any.error();
}

}  // namespace
}  // namespace thinkwire::integration
