// The door over real sockets, with fake workers behind the router.

#include "router/http/door.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "common/rpc/error_metadata.h"
#include "tests/router/http/door_fixture.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

// What clients are sent for SmallStream, byte for byte.
constexpr char kWhole[] =
    R"({"id":"chatcmpl-ID","object":"chat.completion","created":1,"model":"qwen-1.5b",)"
    R"("system_fingerprint":"fake","choices":[{"index":0,"message":{"role":"assistant",)"
    R"("content":"2","refusal":null,"reasoning_content":"So 2.","reasoning":"So 2."},)"
    R"("logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,)"
    R"("completion_tokens":5,"total_tokens":8,"completion_tokens_details":)"
    R"({"reasoning_tokens":3},"prompt_tokens_details":{"cached_tokens":0}},"thinkwire":)"
    R"({"variant_reason":"named by the request","worker_reason":"the only live one: 0 queued, )"
    R"(0 running","seed":1,"max_tokens":1000}})";

std::string ChunkOf(const std::string& choices, const std::string& more = "") {
  return absl::StrCat(R"(data: {"id":"chatcmpl-ID","object":"chat.completion.chunk","created":1,)",
                      R"("model":"qwen-1.5b","system_fingerprint":"fake","choices":[)", choices,
                      "]", more, "}\n\n");
}

TEST_F(DoorTest, AnswersAsAWhole) {
  Open();
  const Reply reply = Chat();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.field("content-type"), "application/json");
  EXPECT_EQ(reply.field("x-request-id").size(), 32u);
  EXPECT_EQ(reply.field("warning"), "");
  EXPECT_EQ(Normalised(reply.body), kWhole);
  EXPECT_EQ(Requests("chat_completions", "200"), 1);
}

TEST_F(DoorTest, AnswersAsAStream) {
  Open();
  const Reply reply = Chat(R"(,"stream":true,"stream_options":{"include_usage":true})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.field("content-type"), "text/event-stream; charset=utf-8");
  const std::string none = R"(,"logprobs":null,"finish_reason":)";
  const std::string nothing = R"(,"usage":null)";
  EXPECT_EQ(
      Normalised(reply.body),
      ": queued 0\n\n" +
          ChunkOf(R"({"index":0,"delta":{"role":"assistant","content":""})" + none + "null}",
                  nothing +
                      R"(,"thinkwire":{"variant_reason":"named by the request","worker_reason":)"
                      R"("the only live one: 0 queued, 0 running","seed":1,"max_tokens":1000})") +
          ChunkOf(R"({"index":0,"delta":{"reasoning_content":"So 2.","reasoning":"So 2."})" + none +
                      "null}",
                  nothing) +
          ChunkOf(R"({"index":0,"delta":{"content":"2"})" + none + "null}", nothing) +
          ChunkOf(R"({"index":0,"delta":{})" + none + "\"stop\"}", nothing) +
          ChunkOf("", R"(,"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8,)"
                      R"("completion_tokens_details":{"reasoning_tokens":3},)"
                      R"("prompt_tokens_details":{"cached_tokens":0}})") +
          "data: [DONE]\n\n");
}

TEST_F(DoorTest, TheRequestReachesTheWorkerAsItIsMeant) {
  Open();
  Chat(R"(,"temperature":0.5,"stop":["x","y"],"seed":7,"max_completion_tokens":90,)"
       R"("reasoning_effort":"low","top_k":-1,"logit_bias":{"5":-100})",
       {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}});
  const FakeWorker::Call call = small_.last_call();
  const v1::GenerateRequest& request = call.request.request();
  EXPECT_FLOAT_EQ(request.sampling().temperature(), 0.5);
  EXPECT_EQ(request.sampling().top_k(), 0);
  EXPECT_FLOAT_EQ(request.sampling().logit_bias().at(5), -100);
  EXPECT_EQ(request.sampling().stop_strings_size(), 0);
  ASSERT_EQ(request.answer_sampling().stop_strings_size(), 2);
  EXPECT_EQ(request.answer_sampling().stop_strings(1), "y");
  EXPECT_EQ(request.seed(), 7u);
  EXPECT_EQ(request.max_tokens(), 90);
  EXPECT_EQ(request.thinking().budget_tokens(), 20);
  EXPECT_TRUE(call.traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
  EXPECT_FALSE(absl::StrContains(call.traceparent, "b7ad6b7169203331"))
      << "the router's span is its parent";
}

TEST_F(DoorTest, TheModelMayBeAnyNameOfAVariantOrTheRoutersChoice) {
  Open();
  for (const std::string name :
       {"qwen-32b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "deepseek-r1:32b"}) {
    const Reply reply =
        Ask(port(), "POST", kChatPath,
            R"({"messages":[{"role":"user","content":"1+1?"}],"model":")" + name + "\"}");
    EXPECT_EQ(Json::parse(reply.body)["model"], "qwen-32b") << name;
  }
  const Reply chosen = Ask(port(), "POST", kChatPath,
                           R"({"messages":[{"role":"user","content":"Hello"}],"model":"auto"})");
  EXPECT_EQ(chosen.status, 200);
  const Reply unknown = Ask(port(), "POST", kChatPath,
                            R"({"messages":[{"role":"user","content":"?"}],"model":"gpt-4"})");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(Json::parse(unknown.body)["error"]["code"], "model_not_found");
}

TEST_F(DoorTest, ErrorsAreOpenAisAndNameTheClientsField) {
  Open();
  struct Case {
    const char* more;
    const char* param;
  };
  for (const Case& wrong : std::vector<Case>{
           {R"(,"temperature":5)", "temperature"},
           {R"(,"temperature":"x")", "temperature"},
           {R"(,"top_logprobs":3)", "top_logprobs"},
           {R"(,"max_tokens":0)", "max_tokens"},
           {R"(,"max_tokens":3000000000)", "max_tokens"},
           {R"(,"stop":[")"
            "x"
            R"(",3])",
            "stop"},
           {R"(,"tools":[{}])", "tools"},
           {R"(,"n":65)", "n"},
           {R"(,"reasoning_effort":"huge")", "reasoning_effort"},
           {R"(,"thinking":{"budget_tokens":-1})", "thinking.budget_tokens"},
           {R"(,"response_format":{"type":"xml"})", "response_format.type"},
           {R"(,"logit_bias":{"a":1})", "logit_bias"},
           {R"(,"reasoning_format":"odd")", "reasoning_format"},
           {R"(,"continue_final_message":true)", "continue_final_message"},
       }) {
    const Reply reply = Chat(wrong.more);
    EXPECT_EQ(reply.status, 400) << wrong.more;
    const Json error = Json::parse(reply.body)["error"];
    EXPECT_EQ(error["type"], "invalid_request_error") << wrong.more;
    EXPECT_EQ(error["param"], wrong.param) << reply.body;
    EXPECT_EQ(error["message"].get<std::string>().find(wrong.param), 0u) << reply.body;
  }
  EXPECT_EQ(small_.num_calls(), 0);
}

TEST_F(DoorTest, WhatTheWorkerSaysHasAStatusOfItsOwn) {
  Open();
  struct Case {
    absl::StatusCode code;
    const char* reason;
    int status;
  };
  for (const Case& one : {
           Case{absl::StatusCode::kInvalidArgument, "INVALID_FIELD", 400},
           Case{absl::StatusCode::kUnimplemented, "FIELD_NOT_IMPLEMENTED", 400},
           Case{absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE", 413},
           Case{absl::StatusCode::kFailedPrecondition, "PROMPT_DIFFERS", 422},
           Case{absl::StatusCode::kInternal, "NOT_FINITE", 500},
           Case{absl::StatusCode::kDeadlineExceeded, "DEADLINE_TOO_SOON", 504},
       }) {
    small_.SetScript({.end = rpc::Error(one.code, one.reason, "some words")});
    for (const char* more : {"", R"(,"stream":true)"}) {
      const Reply reply = Chat(more);
      EXPECT_EQ(reply.status, one.status) << one.reason << ": " << reply.body;
    }
  }
  small_.SetScript({.end = rpc::WithRetryAfter(
                        rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", "full"),
                        std::chrono::milliseconds(2500))});
  const Reply full = Chat();
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.field("retry-after"), "3");
}

// As OpenAI's clients, and those that fall back on a model of a longer context, look for it.
TEST_F(DoorTest, WhatIsTooLongForTheContextSaysSo) {
  Open();
  for (const auto& [field, param] : std::vector<std::pair<std::string, std::string>>{
           {"prompt.chat", "messages"}, {"max_tokens", "max_tokens"}}) {
    small_.SetScript({.end = rpc::WithMetadata(rpc::InvalidField(field, "is too long"),
                                               rpc::kContextTokens, "4096")});
    const Reply reply = Chat();
    EXPECT_EQ(reply.status, 400);
    const Json error = Json::parse(reply.body)["error"];
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], param);
    EXPECT_EQ(error["message"], param + " is too long");
  }
}

TEST_F(DoorTest, WithoutALiveWorkerItIsUnavailable) {
  Open();
  EXPECT_EQ(Ask(port(), "GET", "/health").status, 200);
  small_.Kill();
  large_.Kill();
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  ASSERT_TRUE(pool_.WaitForLive(1, 0));
  EXPECT_EQ(Ask(port(), "GET", "/health").status, 503);
  const Reply reply = Chat();
  EXPECT_EQ(reply.status, 503);
  EXPECT_NE(reply.field("retry-after"), "");
}

TEST_F(DoorTest, AnErrorInAStreamIsItsLastEvent) {
  Open();
  std::vector<v1::GenerateResponse> events = SmallStream();
  events.resize(3);
  small_.SetScript(
      {.events = events, .end = rpc::Error(absl::StatusCode::kInternal, "BROKEN", "it broke")});
  const Reply reply = Chat(R"(,"stream":true)");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body.find("[DONE]"), reply.body.npos);
  const std::size_t last = reply.body.rfind("data: ");
  const Json event = Json::parse(reply.body.substr(last + 6));
  EXPECT_TRUE(event.contains("error")) << event;
  EXPECT_FALSE(event.contains("choices"));
}

TEST_F(DoorTest, AClientThatGoesCancelsItsGeneration) {
  Open();
  small_.SetScript({.events = {SmallStream()[0], SmallStream()[1]}, .stays_open = true});
  int cancels = 0;
  for (const bool streams : {false, true}) {
    RawClient client(port());
    client.Send(MakeRequestText("POST", kChatPath, ChatBody(streams ? R"(,"stream":true)" : "")));
    ASSERT_TRUE(small_.WaitForCalls(cancels + 1));
    if (streams) {
      EXPECT_NE(client.ReadUntil("\r\n\r\n"), "");
    }
    client.Close();
    EXPECT_TRUE(small_.WaitForCancels(++cancels));
  }
  door_.reset();  // when all have been counted
  EXPECT_EQ(Requests("chat_completions", "499"), 1) << "who was sent nothing";
  EXPECT_EQ(Requests("chat_completions", "200"), 1);
}

TEST_F(DoorTest, AConnectionTakesRequestsOneAfterAnother) {
  Open();
  RawClient client(port());
  const std::string chat = MakeRequestText("POST", kChatPath, ChatBody(R"(,"stream":true)"));
  client.Send(MakeRequestText("GET", "/health") + chat + chat +
              MakeRequestText("GET", "/v1/models", "", {{"Connection", "close"}}));
  const std::string all = client.ReadToEnd();
  std::size_t answers = 0;
  for (std::size_t at = all.find("HTTP/1.1 200 OK"); at != all.npos;
       at = all.find("HTTP/1.1 200 OK", at + 1)) {
    ++answers;
  }
  EXPECT_EQ(answers, 4u) << all;
  EXPECT_NE(all.find(R"("object":"list")"), all.npos);
}

TEST_F(DoorTest, HttpItselfIsHeldToItsRules) {
  Open();
  struct Case {
    std::string text;
    int status;
  };
  const std::string post = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
  for (const Case& one : std::vector<Case>{
           {"hello\r\n\r\n", 400},
           {"GET /health HTTP/1.1\r\n\r\n", 400},
           {"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
           {"GET http://x/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
           {post + "Transfer-Encoding: gzip\r\n\r\n", 400},
           {post + "Transfer-Encoding: chunked, identity\r\n\r\n", 400},
           {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
           {post + "Content-Length: -3\r\n\r\n", 400},
           {post + "Content-Length: 3000000\r\n\r\n", 413},
           {"GET /health HTTP/2.0\r\n\r\n", 505},
           {"GET /health HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n", 431},
       }) {
    RawClient client(port());
    client.Send(one.text);
    const Reply reply = ParseReply(client.ReadToEnd());
    EXPECT_EQ(reply.status, one.status) << one.text.substr(0, 120);
    EXPECT_EQ(reply.field("connection"), "close");
    EXPECT_TRUE(Json::parse(reply.body).contains("error")) << reply.body;
  }
}

TEST_F(DoorTest, PathsAndMethodsThatItHasNotAreTold) {
  Open();
  EXPECT_EQ(Ask(port(), "GET", "/nowhere").status, 404);
  const Reply reply = Ask(port(), "GET", kChatPath);
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.field("allow"), "POST, OPTIONS");
  EXPECT_EQ(Ask(port(), "POST", kChatPath, "", {{"Content-Type", "text/plain"}}).status, 415);
  const std::string compressed = ChatBody();
  EXPECT_EQ(Chat("", {{"Content-Encoding", "gzip"}}).status, 415);
  const Reply head = Ask(port(), "HEAD", "/health");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
}

TEST_F(DoorTest, TellsWhichModelsThereAre) {
  Open();
  const Json list = Json::parse(Ask(port(), "GET", "/v1/models").body);
  ASSERT_EQ(list["data"].size(), 3u);
  EXPECT_EQ(list["data"][0]["id"], "auto");
  EXPECT_EQ(list["data"][1]["id"], "qwen-1.5b");
  EXPECT_EQ(list["data"][1]["live_workers"], 1);
  const Reply one = Ask(port(), "GET", "/v1/models/deepseek-ai%2FDeepSeek-R1-Distill-Qwen-32B");
  EXPECT_EQ(Json::parse(one.body)["id"], "qwen-32b");
  EXPECT_EQ(Ask(port(), "GET", "/v1/models/none").status, 404);
}

TEST_F(DoorTest, UnknownFieldsAreNamedInAWarningOrRefusedWhereItIsStrict) {
  Open();
  const Reply reply = Chat(R"(,"frobnicate":1,"thinking":{"odd\r\nX: y":2})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.field("warning").find("frobnicate"), std::string::npos);
  EXPECT_EQ(reply.field("x"), "");
  Open({.reader = {.strict = true}});
  const Reply refused = Chat(R"(,"frobnicate":1)");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(Json::parse(refused.body)["error"]["param"], "frobnicate");
}

TEST_F(DoorTest, CompletionsHaveTheReasoningInTheirText) {
  Open();
  const Reply raw =
      Ask(port(), "POST", "/v1/completions", R"({"model":"qwen-1.5b","prompt":"1+1?<think>\n"})");
  EXPECT_EQ(raw.status, 200) << raw.body;
  const Json choice = Json::parse(raw.body)["choices"][0];
  EXPECT_EQ(choice["text"], "So 2.</think>\n\n2");
  EXPECT_EQ(small_.last_call().request.request().prompt().text(), "1+1?<think>\n");
  const Reply streamed = Ask(port(), "POST", "/v1/completions",
                             R"({"model":"qwen-1.5b","prompt":"1+1?<think>\n","stream":true})");
  EXPECT_NE(streamed.body.find(R"("text":"So 2.")"), std::string::npos) << streamed.body;
  EXPECT_TRUE(streamed.body.ends_with("data: [DONE]\n\n"));
}

TEST_F(DoorTest, PagesOfOthersAreRefusedUnlessTheyAreWanted) {
  Open({.cors_origins = "https://chat.example.org"});
  EXPECT_EQ(Chat("", {{"Origin", "https://evil.example"}}).status, 403);
  EXPECT_EQ(Chat("", {{"Origin", "null"}}).status, 403);
  const Reply wanted = Chat("", {{"Origin", "https://chat.example.org"}});
  EXPECT_EQ(wanted.status, 200);
  EXPECT_EQ(wanted.field("access-control-allow-origin"), "https://chat.example.org");
  const Reply preflight =
      Ask(port(), "OPTIONS", kChatPath, "",
          {{"Origin", "https://chat.example.org"}, {"Access-Control-Request-Method", "POST"}});
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.field("access-control-allow-methods"), "POST, OPTIONS");
  EXPECT_EQ(preflight.field("content-length"), "");
  EXPECT_EQ(small_.num_calls(), 1);
}

TEST_F(DoorTest, ABodyInChunksAndOneThatIsAskedForFirstAreTaken) {
  Open();
  const std::string body = ChatBody();
  const std::string post =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
      "application/json; charset=utf-8\r\nConnection: close\r\n";
  RawClient chunked(port());
  std::string text = post + "Transfer-Encoding: chunked\r\n\r\n";
  for (const char c : body) absl::StrAppend(&text, "1\r\n", std::string(1, c), "\r\n");
  chunked.Send(text + "0\r\n\r\n");
  EXPECT_EQ(ParseReply(chunked.ReadToEnd()).status, 200);
  RawClient asking(port());
  asking.Send(
      absl::StrCat(post, "Expect: 100-continue\r\nContent-Length: ", body.size(), "\r\n\r\n"));
  EXPECT_EQ(asking.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  asking.Send(body);
  EXPECT_EQ(ParseReply(asking.ReadToEnd()).status, 200);
}

}  // namespace
}  // namespace thinkwire::router::http
