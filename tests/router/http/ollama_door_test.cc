// Ollama's API over real sockets, with fake workers behind the router.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "router/http/ollama_models.h"
#include "tests/router/http/door_fixture.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

constexpr char kOllamaChat[] = "/api/chat";
constexpr char kOllamaGenerate[] = "/api/generate";
constexpr char kHead[] = R"({"model":"qwen-1.5b","created_at":"T",)";

class OllamaDoorTest : public DoorTest {
 protected:
  OllamaDoorTest() {
    std::vector<v1::GenerateResponse> events = SmallStream();
    v1::Timings& timings = *events[6].mutable_completed()->mutable_timings();
    timings.mutable_queue()->set_nanos(1000);
    timings.mutable_prefill()->set_nanos(2000);
    timings.mutable_reasoning()->set_seconds(3);
    timings.mutable_answer()->set_nanos(4000);
    small_.SetScript({.events = events});
  }

  Reply AskChat(const std::string& more = "") {
    return Ask(port(), "POST", kOllamaChat, ChatBody(more));
  }
  Reply AskGenerate(const std::string& more) {
    return Ask(port(), "POST", kOllamaGenerate, R"({"model":"qwen-1.5b")" + more + "}");
  }
  v1::GenerateRequest Heard() const { return small_.last_call().request.request(); }
};

// What differs from run to run, by a word.
std::string Steady(std::string text) {
  text = std::regex_replace(text, std::regex(R"("created_at":"[0-9TZ:-]{20}")"),
                            R"("created_at":"T")");
  text =
      std::regex_replace(text, std::regex(R"("total_duration":[0-9]+)"), R"("total_duration":9)");
  return Normalised(text);
}

std::string End() {
  return R"("done":true,"done_reason":"stop","total_duration":9,"load_duration":1000,)"
         R"("prompt_eval_count":3,"prompt_eval_duration":2000,"eval_count":5,)"
         R"("eval_duration":3000004000,"thinkwire":{"variant_reason":"named by the request",)"
         R"("worker_reason":"the only live one: 0 queued, 0 running","seed":1,)"
         R"("max_tokens":1000}})";
}

TEST_F(OllamaDoorTest, StreamsAChatAsJsonLines) {
  Open();
  const Reply reply = AskChat();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.field("content-type"), "application/x-ndjson");
  EXPECT_EQ(Steady(reply.body),
            std::string(kHead) +
                R"("message":{"role":"assistant","content":"","thinking":"So 2."},"done":false})" +
                "\n" + kHead + R"("message":{"role":"assistant","content":"2"},"done":false})" +
                "\n" + kHead + R"("message":{"role":"assistant","content":""},)" + End() + "\n");
  EXPECT_EQ(Requests("ollama_chat", "200"), 1);
}

TEST_F(OllamaDoorTest, AnswersAChatAsAWhole) {
  Open();
  const Reply reply = AskChat(R"(,"stream":false)");
  EXPECT_EQ(reply.field("content-type"), "application/json");
  EXPECT_EQ(Steady(reply.body),
            std::string(kHead) +
                R"("message":{"role":"assistant","content":"2","thinking":"So 2."},)" + End());
}

TEST_F(OllamaDoorTest, GeneratesWithASystemMessageAndWithout) {
  Open();
  const Reply streamed = AskGenerate(R"(,"prompt":"1+1?")");
  EXPECT_EQ(Steady(streamed.body), std::string(kHead) +
                                       R"("response":"","thinking":"So 2.","done":false})" + "\n" +
                                       kHead + R"("response":"2","done":false})" + "\n" + kHead +
                                       R"("response":"",)" + End() + "\n");
  ASSERT_EQ(Heard().prompt().chat().messages_size(), 1);
  AskGenerate(R"(,"prompt":"1+1?","system":"Be brief.","stream":false)");
  ASSERT_EQ(Heard().prompt().chat().messages_size(), 2);
  EXPECT_EQ(Heard().prompt().chat().messages(0).role(), v1::ROLE_SYSTEM);
  EXPECT_EQ(Heard().prompt().chat().messages(1).content(), "1+1?");
}

TEST_F(OllamaDoorTest, ARawPromptHasItsReasoningInTheResponse) {
  Open();
  const Reply reply =
      AskGenerate(R"(,"prompt":"1+1?<think>\n","raw":true,"stream":false,"options":{"stop":"x"})");
  EXPECT_EQ(Json::parse(reply.body)["response"], "So 2.</think>\n\n2");
  EXPECT_EQ(Heard().prompt().text(), "1+1?<think>\n");
  ASSERT_EQ(Heard().sampling().stop_strings_size(), 1);
}

TEST_F(OllamaDoorTest, OptionsReachTheWorkerAsTheyAreMeant) {
  Open();
  AskChat(R"(,"think":"low","format":"json","options":{"temperature":0.5,"top_p":0.9,"top_k":40,)"
          R"("min_p":0.1,"num_predict":90,"stop":["a","b"],"seed":7,"repeat_penalty":1.1,)"
          R"("num_ctx":1000,"num_gpu":1})");
  const v1::GenerateRequest request = Heard();
  EXPECT_FLOAT_EQ(request.sampling().temperature(), 0.5);
  EXPECT_FLOAT_EQ(request.sampling().top_p(), 0.9);
  EXPECT_EQ(request.sampling().top_k(), 40);
  EXPECT_FLOAT_EQ(request.sampling().min_p(), 0.1);
  EXPECT_FLOAT_EQ(request.sampling().repetition_penalty(), 1.1);
  EXPECT_EQ(request.max_tokens(), 90);
  EXPECT_TRUE(request.clamp_max_tokens());
  EXPECT_EQ(request.answer_sampling().stop_strings_size(), 2);
  EXPECT_EQ(request.seed(), 7u);
  EXPECT_EQ(request.thinking().budget_tokens(), 20);
  EXPECT_EQ(request.answer_format().json_schema(), R"({"type":"object"})");
}

TEST_F(OllamaDoorTest, WhatMeansNothingInOllamaMeansNothingHere) {
  Open();
  const Reply reply =
      AskChat(R"(,"format":"","think":true,"tools":[],"options":{"num_predict":-1,"seed":-1})");
  EXPECT_EQ(reply.field("warning"), "");
  EXPECT_FALSE(Heard().has_max_tokens());
  EXPECT_FALSE(Heard().has_answer_format());
  EXPECT_EQ(Heard().thinking().mode(), v1::THINKING_MODE_UNSPECIFIED);
  AskChat(R"(,"think":false)");
  EXPECT_EQ(Heard().thinking().mode(), v1::THINKING_MODE_OFF);
  AskChat(R"(,"format":{"type":"object","properties":{"z":{},"a":{}}})");
  EXPECT_EQ(Heard().answer_format().json_schema(),
            R"({"type":"object","properties":{"z":{},"a":{}}})");
  EXPECT_NE(AskChat(R"(,"keep_alive":"5m")").field("warning").find("keep_alive"),
            std::string::npos);
}

TEST_F(OllamaDoorTest, EarlierTurnsMayHaveThinkingAndCalls) {
  Open();
  const Reply reply =
      Ask(port(), "POST", kOllamaChat,
          R"({"model":"qwen-1.5b:latest","messages":[{"role":"user","content":"a"},)"
          R"({"role":"assistant","content":"","thinking":"hm","tool_calls":[{"function":)"
          R"({"name":"f","arguments":{"x":1}}}]},{"role":"tool","tool_name":"f","content":"3"}]})");
  EXPECT_EQ(reply.status, 200) << reply.body;
  const v1::ChatMessage turn = Heard().prompt().chat().messages(1);
  EXPECT_EQ(turn.content(), "");
  EXPECT_EQ(turn.tool_calls(0).arguments(), R"({"x":1})");
}

TEST_F(OllamaDoorTest, ErrorsAreOllamasAndNameTheClientsField) {
  Open();
  struct Case {
    const char* more;
    const char* begin;
  };
  for (const Case& wrong : std::vector<Case>{
           {R"(,"options":{"temperature":5})", "options.temperature"},
           {R"(,"options":{"temperature":"x"})", "options.temperature"},
           {R"(,"options":{"num_predict":0})", "options.num_predict"},
           {R"(,"options":{"num_ctx":0})", "options.num_ctx"},
           {R"(,"options":{"num_ctx":100000000})", "options.num_ctx"},
           {R"(,"options":{"repeat_penalty":9})", "options.repeat_penalty"},
           {R"(,"options":3)", "options"},
           {R"(,"think":"huge")", "think"},
           {R"(,"format":"xml")", "format"},
           {R"(,"tools":[{}])", "tools"},
           {R"(,"top_logprobs":2)", "top_logprobs"},
       }) {
    const Reply reply = AskChat(wrong.more);
    EXPECT_EQ(reply.status, 400) << wrong.more;
    const Json error = Json::parse(reply.body);
    ASSERT_TRUE(error["error"].is_string()) << reply.body;
    EXPECT_EQ(error["error"].get<std::string>().find(wrong.begin), 0u) << reply.body;
  }
  const Reply image = Ask(port(), "POST", kOllamaChat,
                          R"({"model":"qwen-1.5b","messages":[{"role":"user","content":"?",)"
                          R"("images":["aGk="]}]})");
  EXPECT_EQ(image.status, 400);
  EXPECT_EQ(AskGenerate(R"(,"prompt":"a","suffix":"b")").status, 400);
  EXPECT_EQ(small_.num_calls(), 0);
}

TEST_F(OllamaDoorTest, StatusesAreThoseThatOllamaHas) {
  Open();
  EXPECT_EQ(Ask(port(), "POST", kOllamaChat,
                R"({"model":"none","messages":[{"role":"user","content":"?"}]})")
                .status,
            404);
  small_.SetScript({.end = rpc::WithRetryAfter(
                        rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", "full"),
                        std::chrono::seconds(2))});
  const Reply full = AskChat();
  EXPECT_EQ(full.status, 503);
  EXPECT_EQ(full.field("retry-after"), "2");
  EXPECT_EQ(full.body, R"({"error":"full"})");
  EXPECT_EQ(Json::parse(Ask(port(), "GET", "/api/nothing").body)["error"],
            "nothing is served at this path");
  EXPECT_EQ(Ask(port(), "GET", kOllamaChat).status, 405);
}

TEST_F(OllamaDoorTest, ABodyIsJsonOrOfNoTypeThatIsSaid) {
  Open();
  const std::string body = ChatBody();
  const std::string head = absl::StrCat(
      "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ",
      body.size(), "\r\n");
  RawClient silent(port());
  silent.Send(head + "\r\n" + body);
  EXPECT_EQ(ParseReply(silent.ReadToEnd()).status, 200);
  RawClient form(port());
  form.Send(head + "Content-Type: application/x-www-form-urlencoded\r\n\r\n" + body);
  EXPECT_EQ(ParseReply(form.ReadToEnd()).status, 415);
}

TEST_F(OllamaDoorTest, AnErrorInAStreamIsItsLastLine) {
  Open();
  std::vector<v1::GenerateResponse> events = SmallStream();
  events.resize(3);
  small_.SetScript(
      {.events = events, .end = rpc::Error(absl::StatusCode::kInternal, "BROKEN", "it broke")});
  const Reply reply = AskChat();
  EXPECT_EQ(reply.status, 200);
  const std::vector<std::string> lines = absl::StrSplit(reply.body, '\n');
  ASSERT_EQ(lines.size(), 3u) << reply.body;
  EXPECT_TRUE(Json::parse(lines[1])["error"].is_string()) << reply.body;
  EXPECT_EQ(lines[2], "");
}

// As Open WebUI's stop button does over its Ollama connection: it closes the stream of lines.
TEST_F(OllamaDoorTest, AClientThatClosesItsStreamEndsTheGenerationWithinASecond) {
  Open();
  small_.SetScript(
      {.events = {SmallStream()[0], SmallStream()[1], SmallStream()[2]}, .stays_open = true});
  for (int i = 0; i < 2; ++i) {
    const std::string path = std::array{kOllamaChat, kOllamaGenerate}[static_cast<std::size_t>(i)];
    RawClient client(port());
    client.Send(MakeRequestText("POST", path,
                                i == 0 ? ChatBody() : R"({"model":"qwen-1.5b","prompt":"1+1?"})"));
    EXPECT_NE(client.ReadUntil("So"), "") << path;
    const auto closed = std::chrono::steady_clock::now();
    client.Close();
    EXPECT_TRUE(small_.WaitForCancels(i + 1)) << path;
    EXPECT_LT(std::chrono::steady_clock::now() - closed, std::chrono::seconds(1)) << path;
  }
}

TEST_F(OllamaDoorTest, TokensHaveProbabilitiesIfTheyAreAskedFor) {
  Open();
  std::vector<v1::GenerateResponse> events = SmallStream();
  events[2].mutable_reasoning_delta()->add_logprobs()->set_logprob(-0.5);
  events[2].mutable_reasoning_delta()->add_logprobs()->set_logprob(-1);
  events[3].mutable_reasoning_finished()->add_logprobs()->set_logprob(-1);
  events[4].mutable_answer_delta()->add_logprobs()->set_logprob(-0.25);
  events[5].mutable_finished()->add_logprobs()->set_logprob(-1);
  small_.SetScript({.events = events});
  const Json whole = Json::parse(AskChat(R"(,"stream":false,"logprobs":true)").body);
  ASSERT_EQ(whole["logprobs"].size(), 3u);
  EXPECT_EQ(whole["logprobs"][0]["logprob"], -0.5);
  EXPECT_EQ(whole["logprobs"][2]["logprob"], -0.25);
}

TEST_F(OllamaDoorTest, ListsModelsWithATag) {
  Open();
  const Json tags = Json::parse(Ask(port(), "GET", "/api/tags").body)["models"];
  ASSERT_EQ(tags.size(), 3u);
  EXPECT_EQ(tags[0]["model"], "auto:latest");
  EXPECT_EQ(tags[1]["name"], "qwen-1.5b:latest");
  EXPECT_EQ(tags[1]["details"]["family"], "qwen2");
  EXPECT_EQ(tags[1]["details"]["parameter_size"], "1.5B");
  EXPECT_EQ(tags[1]["digest"].get<std::string>().size(), 64u);
  EXPECT_NE(tags[1]["digest"], tags[2]["digest"]);
  EXPECT_EQ(Json::parse(Ask(port(), "GET", "/api/ps").body)["models"].size(), 2u);
  large_.Kill();
  ASSERT_TRUE(pool_.WaitForLive(1, 0));
  EXPECT_EQ(Json::parse(Ask(port(), "GET", "/api/ps").body)["models"].size(), 1u);
  EXPECT_EQ(Json::parse(Ask(port(), "GET", "/api/version").body)["version"], "0.9.0");
}

TEST_F(OllamaDoorTest, ShowsAModelByAnyOfItsNames) {
  Open();
  for (const char* name : {"qwen-32b", "qwen-32b:latest", "deepseek-r1:32b"}) {
    const Reply reply =
        Ask(port(), "POST", "/api/show", absl::StrCat(R"({"model":")", name, "\"}"));
    EXPECT_EQ(reply.status, 200) << name;
    const Json shown = Json::parse(reply.body);
    EXPECT_EQ(shown["details"]["parameter_size"], "32B");
    EXPECT_EQ(shown["capabilities"][1], "thinking");
    EXPECT_GT(shown["model_info"]["qwen2.context_length"], 0);
  }
  EXPECT_EQ(Ask(port(), "POST", "/api/show", R"({"name":"auto"})").status, 200);
  EXPECT_EQ(Ask(port(), "POST", "/api/show", R"({"model":"none"})").status, 404);
  EXPECT_EQ(Ask(port(), "POST", "/api/show", "{}").status, 400);
}

TEST_F(OllamaDoorTest, LoadingAModelAheadIsNoQuestion) {
  Open();
  const Reply load = Ask(port(), "POST", kOllamaChat, R"({"model":"qwen-1.5b","messages":[]})");
  EXPECT_EQ(load.status, 200);
  EXPECT_EQ(Json::parse(load.body)["done_reason"], "load");
  const Reply unload = AskGenerate(R"(,"prompt":"","keep_alive":0)");
  EXPECT_EQ(Json::parse(unload.body)["done_reason"], "unload");
  EXPECT_EQ(Ask(port(), "POST", kOllamaGenerate, R"({"model":"none"})").status, 404);
  EXPECT_EQ(small_.num_calls(), 0);
}

TEST(OllamaModelsTest, TheTagLatestIsLeftOutUnlessItMeansSomething) {
  EXPECT_EQ(WithoutLatest("auto:latest"), "auto");
  EXPECT_EQ(WithoutLatest("deepseek-r1:32b"), "deepseek-r1:32b");
  EXPECT_EQ(WithoutLatest("deepseek-r1:latest"), "deepseek-r1:latest");
  EXPECT_EQ(JsonTime(0), "\"1970-01-01T00:00:00Z\"");
}

}  // namespace
}  // namespace thinkwire::router::http
