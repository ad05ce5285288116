// The page, and what it asks beside chats.

#include "router/http/page.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"
#include "tests/router/http/door_fixture.h"
#include "tests/router/http/other_clients.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

constexpr char kAnswerNow[] = "/v1/answer_now";

using PageTest = DoorTest;

TEST_F(PageTest, IsOneDocumentThatAsksNobodyElse) {
  Open();
  const Reply reply = Ask(port(), "GET", "/");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.field("content-type"), "text/html; charset=utf-8");
  EXPECT_TRUE(absl::StartsWith(reply.body, "<!doctype html>"));
  EXPECT_TRUE(absl::EndsWith(reply.body, "</html>\n"));
  EXPECT_FALSE(absl::StrContains(reply.body, "http://"));
  EXPECT_FALSE(absl::StrContains(reply.body, "https://"));
  const std::string policy = reply.field("content-security-policy");
  EXPECT_TRUE(absl::StartsWith(policy, "default-src 'none'; script-src 'sha256-")) << policy;
  EXPECT_FALSE(absl::StrContains(policy, "unsafe"));
  EXPECT_EQ(Requests("page", "200"), 1);
}

TEST_F(PageTest, OffItIsALine) {
  Open({.page = false});
  const Reply reply = Ask(port(), "GET", "/");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "Thinkwire is running\n");
  EXPECT_EQ(reply.field("content-type"), "text/plain; charset=utf-8");
}

TEST_F(PageTest, APageOfAnotherHostIsNotServed) {
  Open();
  RawClient client(port());
  client.Send("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(ParseReply(client.ReadToEnd()).status, 403);
}

TEST_F(PageTest, AnswerNowEndsTheReasoningOfTheRequestOfThatName) {
  Open();
  RawClient client(port());
  const std::string name = BeginThinking(small_, client);
  ASSERT_EQ(name.size(), 32u);
  const Reply reply =
      Ask(port(), "POST", kAnswerNow, absl::StrCat(R"({"request_id":")", name, "\"}"));
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.body, R"({"outputs":1})");
  ASSERT_EQ(small_.answers_now().size(), 1u);
  EXPECT_EQ(small_.answers_now()[0].request.request_id(), name);
  EXPECT_EQ(Requests("answer_now", "200"), 1);
}

TEST_F(PageTest, AnswerNowSaysWhatIsWrong) {
  Open();
  EXPECT_EQ(Ask(port(), "POST", kAnswerNow, R"({"request_id":"unknown"})").status, 404);
  EXPECT_EQ(Ask(port(), "POST", kAnswerNow, "{}").status, 400);
  EXPECT_EQ(Ask(port(), "POST", kAnswerNow, R"({"request_id":3})").status, 400);
  const Reply output = Ask(port(), "POST", kAnswerNow, R"({"request_id":"x","output":64})");
  EXPECT_EQ(output.status, 400);
  EXPECT_EQ(
      Json::parse(
          Ask(port(), "POST", kAnswerNow, R"({"request_id":"unknown"})").body)["error"]["code"],
      "request_not_found");
}

}  // namespace
}  // namespace thinkwire::router::http
