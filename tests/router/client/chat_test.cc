#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/status_details.h"
#include "router/client/chat_json.h"
#include "router/client/chat_options.h"
#include "router/client/chat_request.h"
#include "router/client/chat_screen.h"
#include "router/client/probe.h"

namespace thinkwire::router::client {
namespace {

absl::StatusOr<ChatOptions> Parse(const std::vector<const char*>& arguments) {
  return ParseChatArguments(arguments);
}

TEST(ParseChatArguments, ReadsQuestionAndOptions) {
  const auto options =
      Parse({"--no-think", "--temperature=0", "--top-p", "0.9", "--seed=7", "What", "is", "this?"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_FALSE(options->thinking);
  EXPECT_EQ(options->temperature, 0.0F);
  EXPECT_EQ(options->top_p, 0.9F);
  EXPECT_EQ(options->seed, 7U);
  EXPECT_EQ(options->question, "What is this?");
  EXPECT_EQ(Parse({"--presence_penalty=-1.5"})->presence_penalty, -1.5F);
  EXPECT_EQ(Parse({})->question, std::nullopt);
  EXPECT_EQ(Parse({"--timeout_s=0.5"})->timeout_s, 0.5);
  EXPECT_EQ(Parse({"--router=there"})->routers, std::vector<std::string>{"there:50051"});
  EXPECT_EQ(Parse({"--router=there,here:7"})->routers,
            (std::vector<std::string>{"there:50051", "here:7"}));
  EXPECT_FALSE(Parse({"--router=there,"}).ok());
  EXPECT_TRUE(Parse({"-h"})->help);
  EXPECT_EQ(Parse({"--", "--no-think"})->question, "--no-think");
}

TEST(ParseChatArguments, AProbeHasAnAddressAndMayHaveAName) {
  const auto probe = [](const char* text) { return *Parse({"--probe", text})->probe; };
  EXPECT_EQ(probe("there").address, "there:50051");
  EXPECT_EQ(probe("there").name, "");
  EXPECT_EQ(probe("there:1/variant/a").address, "there:1");
  EXPECT_EQ(probe("there:1/variant/a").name, "variant/a");
  EXPECT_EQ(probe("[::1]:1/liveness").address, "[::1]:1");
  EXPECT_FALSE(Parse({"--probe=http://there"}).ok());
  EXPECT_FALSE(Parse({"--probe=there:x"}).ok());
}

TEST(Probe, SaysWhetherItServes) {
  rpc::GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  options.own_health_names = {"variant/a"};
  const auto server = *rpc::GrpcServer::Start(options);
  const auto probe = [&](const std::string& name) {
    return Probe({.address = absl::StrCat("127.0.0.1:", server->port()), .name = name}, {},
                 std::chrono::seconds(60));
  };
  EXPECT_TRUE(probe("liveness").ok());
  EXPECT_EQ(probe("").message(), "NOT_SERVING");
  EXPECT_EQ(probe("variant/a").message(), "NOT_SERVING");
  EXPECT_EQ(probe("variant/b").code(), absl::StatusCode::kNotFound);
  server->SetServing("variant/a", true);
  EXPECT_TRUE(probe("variant/a").ok());
  EXPECT_FALSE(probe("readiness").ok());
}

TEST(ParseChatArguments, RefusesWhatMakesNoSense) {
  EXPECT_FALSE(Parse({"--task=cooking"}).ok());
  EXPECT_TRUE(Parse({"--task=math"}).ok());
  EXPECT_FALSE(Parse({"--timeout_s=0"}).ok());
  EXPECT_FALSE(Parse({"-m", "x"}).ok());
  EXPECT_FALSE(Parse({"--router=http://localhost"}).ok());
  EXPECT_FALSE(Parse({"--raw", "--no-think"}).ok());
  EXPECT_FALSE(Parse({"--raw", "--system=x"}).ok());
  EXPECT_EQ(Parse({"--raw", "a\xff"}).status().message(), "argument 2 is not valid UTF-8");
}

TEST(SetInConversation, SetsAndUnsets) {
  ChatOptions options;
  for (const char* setting : {"seed 7", "top-p=0.5", "system  Be brief, please. ", "no-think"}) {
    EXPECT_TRUE(SetInConversation(setting, options).ok()) << setting;
  }
  EXPECT_EQ(options.seed, 7U);
  EXPECT_EQ(options.top_p, 0.5F);
  EXPECT_EQ(options.system, "Be brief, please.");
  EXPECT_FALSE(options.thinking);
  EXPECT_THAT(DescribeSettings(options), testing::HasSubstr("top_p=0.5\n"));
  for (const char* setting : {"seed", "system", "thinking"}) {
    EXPECT_TRUE(SetInConversation(setting, options).ok()) << setting;
  }
  EXPECT_EQ(options.seed, std::nullopt);
  EXPECT_EQ(options.system, "");
  EXPECT_TRUE(options.thinking);
}

TEST(SetInConversation, RefusesWhatCannotChangeAndChangesNothing) {
  ChatOptions options;
  options.seed = 7;
  for (const char* setting : {"router x", "raw", "seed x", "top_p 2", "nothing", "= 3"}) {
    EXPECT_FALSE(SetInConversation(setting, options).ok()) << setting;
  }
  EXPECT_EQ(options.seed, 7U);
  EXPECT_EQ(options.routers, std::vector<std::string>{"localhost:50051"});
}

TEST(InWordsOfOptions, NamesTheOptionBehindAField) {
  EXPECT_EQ(InWordsOfOptions(rpc::InvalidField("answer_sampling.stop_strings[0]", "is long")),
            "--stop is long");
  EXPECT_EQ(InWordsOfOptions(rpc::InvalidField("wishes.task", "must be unset")),
            "--task must be unset");
  EXPECT_EQ(InWordsOfOptions(rpc::InvalidField("consensus.max_samples", "must be in [2, 64]")),
            "--consensus must be in [2, 64]");
  EXPECT_EQ(InWordsOfOptions(rpc::InvalidField("prompt", "is required")), "prompt is required");
  EXPECT_EQ(InWordsOfOptions(absl::InternalError("a bug")), "a bug");
}

TEST(MakeRequest, SaysWhatTheCommandLineSays) {
  const auto options = Parse({"--variant=qwen-7b", "--task=math", "--may_substitute", "--no-think",
                              "--top_k=5", "--stop=END", "--system=Be brief.", "--max_tokens=9"});
  ASSERT_TRUE(options.ok()) << options.status();
  const v1::GenerateRequest request = MakeRequest(*options);
  EXPECT_EQ(request.variant(), "qwen-7b");
  EXPECT_EQ(request.wishes().task(), v1::TASK_MATH);
  EXPECT_TRUE(request.wishes().may_substitute());
  EXPECT_FALSE(MakeRequest(*Parse({})).has_wishes());
  EXPECT_EQ(request.thinking().mode(), v1::THINKING_MODE_OFF);
  EXPECT_EQ(request.reasoning_sampling().top_k(), 5);
  EXPECT_EQ(request.answer_sampling().top_k(), 5);
  EXPECT_EQ(request.reasoning_sampling().stop_strings_size(), 0);
  EXPECT_EQ(request.answer_sampling().stop_strings(0), "END");
  EXPECT_EQ(request.max_tokens(), 9);
  ASSERT_EQ(request.prompt().chat().messages_size(), 1);
  EXPECT_EQ(request.prompt().chat().messages(0).content(), "Be brief.");
}

TEST(MakeRequest, OutputsMayVoteAndARequestMayGoFirst) {
  const auto options = Parse({"--consensus=5", "--priority=high", "--answer_now"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->answer_now);
  EXPECT_EQ(MakeRequest(*options).consensus().max_samples(), 5);
  EXPECT_EQ(MakeRequest(*options).priority(), v1::PRIORITY_HIGH);
  EXPECT_FALSE(MakeRequest(*Parse({})).has_consensus());
  EXPECT_FALSE(Parse({"--consensus=1"}).ok());
  EXPECT_FALSE(Parse({"--priority=urgent"}).ok());
}

TEST(MakeRequest, AsksForSeveralAnswers) {
  const auto options = Parse({"--n=3"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(MakeRequest(*options).n(), 3);
  EXPECT_FALSE(MakeRequest(*Parse({})).has_n());
  EXPECT_FALSE(Parse({"--n=0"}).ok());
  EXPECT_FALSE(Parse({"--n=65"}).ok());
  EXPECT_EQ(InWordsOfOptions(rpc::InvalidField("n", "must be at most 12")),
            "--n must be at most 12");
}

TEST(MakeRequest, AnAnswerHasOneFormatAtMost) {
  auto options = Parse({"--choices=yes,no way"});
  ASSERT_TRUE(options.ok()) << options.status();
  const v1::AnswerFormat choices = MakeRequest(*options).answer_format();
  ASSERT_EQ(choices.choices().choices_size(), 2);
  EXPECT_EQ(choices.choices().choices(1), "no way");
  options = Parse({"--regex=[0-9]+"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(MakeRequest(*options).answer_format().regex(), "[0-9]+");
  EXPECT_FALSE(MakeRequest(*Parse({"--top_k=1"})).has_answer_format());
  EXPECT_FALSE(Parse({"--regex=a", "--choices=a,b"}).ok());
  EXPECT_FALSE(Parse({"--json_schema=/nowhere/schema.json"}).ok());
}

TEST(MakeRequest, ASchemaIsReadFromItsFile) {
  const std::string path = absl::StrCat(testing::TempDir(), "schema-", getpid(), ".json");
  std::ofstream(path) << R"({"type":"integer"})";
  const std::string argument = absl::StrCat("--json_schema=", path);
  const auto options = Parse({argument.c_str()});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(MakeRequest(*options).answer_format().json_schema(), R"({"type":"integer"})");
  EXPECT_EQ(InWordsOfOptions(rpc::InvalidField("answer_format.json_schema", "is refused")),
            "--json_schema is refused");
  std::filesystem::remove(path);
}

TEST(JsonLine, NamesTheEventAndShowsAllItsFields) {
  v1::GenerateResponse response;
  EXPECT_EQ(JsonLine(response), "");
  response.mutable_queued()->set_position(0);
  EXPECT_EQ(JsonLine(response), R"({"event":"queued","position":0})");
}

TEST(WithoutControls, LeavesTextAndTakesTerminalSequences) {
  EXPECT_EQ(WithoutControls("a\tb\n\u4f60\u00e9 \U0001F600"), "a\tb\n\u4f60\u00e9 \U0001F600");
  EXPECT_EQ(WithoutControls("\x1b[2Jx\r\x07\x7f"), "[2Jx");
  EXPECT_EQ(WithoutControls("a\u009bb"), "ab");
  EXPECT_EQ(WithoutControls("\xc2"), "\xc2");
}

std::string Contents(std::FILE* file) {
  std::string text;
  std::rewind(file);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  return text;
}

TEST(Screen, KeepsAnswersApartAndHasNoColorsInFiles) {
  std::FILE* out = std::tmpfile();
  std::FILE* err = std::tmpfile();
  Screen screen(out, err);
  screen.Progress("waiting");
  screen.Note("[tiny]");
  screen.Reasoning("1+1 ");
  screen.Reasoning("is 2");
  screen.Answer("It ");
  screen.Answer("is 2.");
  screen.Note("[done]");
  EXPECT_EQ(Contents(out), "It is 2.\n");
  EXPECT_EQ(Contents(err), "[tiny]\n1+1 is 2\n\n[done]\n");
  std::fclose(out);
  std::fclose(err);
}

TEST(Screen, LeavesOneEmptyLineAfterReasoningThatEndsItsOwnLine) {
  std::FILE* out = std::tmpfile();
  std::FILE* err = std::tmpfile();
  Screen screen(out, err);
  screen.Reasoning("So 1 + 1 = 2.\n");
  screen.Answer("2\n");
  screen.Note("[done]");
  EXPECT_EQ(Contents(out), "2\n");
  EXPECT_EQ(Contents(err), "So 1 + 1 = 2.\n\n[done]\n");
  std::fclose(out);
  std::fclose(err);
}

}  // namespace
}  // namespace thinkwire::router::client
