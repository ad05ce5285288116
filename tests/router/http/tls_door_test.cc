// The door with certificates and keys.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "tests/fakes/test_ca.h"
#include "tests/router/http/keyed_door_fixture.h"
#include "tests/router/http/streams.h"
#include "tests/router/http/tls_client.h"

namespace thinkwire::router::http {
namespace {

TEST_F(KeyedDoorTest, AKeyIsNeededAndSaysWhoseTheCallIs) {
  Open({.needs_key = true});
  const Reply none = Chat();
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(none.field("www-authenticate"), "Bearer");
  EXPECT_EQ(Chat("", {{"Authorization", "Bearer nonsense"}}).status, 401);
  EXPECT_EQ(Ask(port(), "GET", "/v1/models").status, 401);
  EXPECT_EQ(small_.num_calls(), 0);
  EXPECT_EQ(Chat("", {{"Authorization", "Bearer " + std::string(64, 'a')}}).status, 200);
  EXPECT_EQ(small_.last_call().tenant, "search");
  EXPECT_EQ(Ask(port(), "GET", "/health").status, 200);
}

std::string AskTls(int port, const std::string& text, const TlsFiles& certificate = {}) {
  TlsClient client(port, 0, certificate);
  if (!client.is_connected()) return "";
  client.Send(text);
  return client.ReadToEnd();
}

TEST_F(KeyedDoorTest, SpeaksTlsWithTheRoutersCertificate) {
  const TestCa ca("test CA");
  Open({.tls = folder_.Write("server", ca.Issue())});
  const std::string get = MakeRequestText("GET", "/health", "", {{"Connection", "close"}});
  EXPECT_EQ(ParseReply(AskTls(port(), get)).status, 200);
  const std::string post =
      MakeRequestText("POST", kChatPath, ChatBody(R"(,"stream":true)"), {{"Connection", "close"}});
  EXPECT_NE(AskTls(port(), post).find("[DONE]"), std::string::npos);
  RawClient plain(port());
  plain.Send(get);
  EXPECT_EQ(plain.ReadToEnd().find("HTTP/1.1 200"), std::string::npos);
}

TEST_F(KeyedDoorTest, AClientsCertificateNamesItsTenant) {
  const TestCa ca("test CA");
  Open({.tls = folder_.Write("server", ca.Issue(), ca.certificate()), .needs_key = true});
  const std::string post =
      MakeRequestText("POST", kChatPath, ChatBody(), {{"Connection", "close"}});
  EXPECT_EQ(ParseReply(AskTls(port(), post)).status, 0);
  const TlsFiles client = folder_.Write(
      "client", ca.Issue({.common_name = "x", .alternative_names = "DNS:batch.example"}));
  EXPECT_EQ(ParseReply(AskTls(port(), post, client)).status, 200);
  EXPECT_EQ(small_.last_call().tenant, "batch");
  const TestCa other("another CA");
  const TlsFiles forged = folder_.Write(
      "forged", other.Issue({.common_name = "x", .alternative_names = "DNS:batch.example"}));
  EXPECT_EQ(ParseReply(AskTls(port(), post, forged)).status, 0);
}

TEST_F(KeyedDoorTest, AReaderOfASmallWindowGetsEverythingByTls) {
  const TestCa ca("test CA");
  Open({.tls = folder_.Write("server", ca.Issue())});
  constexpr int kDeltas = 600;
  small_.SetScript({.events = LongStream(kDeltas)});
  TlsClient client(port(), /*receive_buffer=*/4096);
  client.Send(
      MakeRequestText("POST", kChatPath, ChatBody(R"(,"stream":true)"), {{"Connection", "close"}}));
  ASSERT_TRUE(small_.WaitForCalls(1));
  const Reply reply = ParseReply(client.ReadToEnd());
  EXPECT_EQ(std::ranges::count(reply.body, 'Z'), kDeltas * 4000);
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
}

TEST_F(KeyedDoorTest, AConnectionOfTlsTakesRequestsOneAfterAnother) {
  const TestCa ca("test CA");
  Open({.tls = folder_.Write("server", ca.Issue())});
  TlsClient client(port());
  for (int i = 0; i < 3; ++i) {
    client.Send(MakeRequestText("GET", "/health"));
    std::string reply;
    while (!absl::StrContains(reply, "}}")) {
      const std::string more = client.ReadSome(7);
      ASSERT_NE(more, "") << reply;
      reply += more;
    }
    EXPECT_TRUE(reply.starts_with("HTTP/1.1 200 ")) << reply;
  }
}

TEST_F(KeyedDoorTest, AClientOfTlsThatGoesCancelsItsGeneration) {
  const TestCa ca("test CA");
  Open({.tls = folder_.Write("server", ca.Issue())});
  small_.SetScript({.events = {SmallStream()[0], SmallStream()[1]}, .stays_open = true});
  for (const bool abruptly : {false, true}) {
    TlsClient client(port());
    client.Send(MakeRequestText("POST", kChatPath, ChatBody(R"(,"stream":true)")));
    EXPECT_NE(client.ReadSome(), "");
    client.Close(abruptly);
  }
  EXPECT_TRUE(small_.WaitForCancels(2));
}

}  // namespace
}  // namespace thinkwire::router::http
