// What streams say while nothing happens, so that nobody between takes them for dead.

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "router/http/http_limits.h"
#include "tests/router/http/apis.h"
#include "tests/router/http/door_fixture.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

constexpr char kComment[] = ": keep-alive\n\n";

bool IsOllama(const Api& api) { return std::string(api.path).starts_with("/api/"); }

class KeepAliveTest : public DoorTest {
 protected:
  KeepAliveTest() {
    small_.SetScript({.events = {SmallStream()[0], SmallStream()[1]}, .stays_open = true});
  }
  // A client of each API.
  std::vector<RawClient> AskAll(const std::string& more) {
    std::vector<RawClient> clients;
    for (const Api& api : kApis) {
      clients.emplace_back(port()).Send(
          MakeRequestText("POST", api.path, BodyFor(api, more), {{"Connection", "close"}}));
    }
    return clients;
  }
  void ExpectKeepAlive(const Api& api, RawClient& stream) {
    if (!IsOllama(api)) {
      const std::string said = stream.ReadUntil(kComment);
      EXPECT_TRUE(said.starts_with("HTTP/1.1 200 ") && said.ends_with(kComment)) << said;
      return;
    }
    stream.ReadUntil("\r\n\r\n");
    stream.ReadUntil("\r\n");  // the chunk's size
    const Json line = Json::parse(stream.ReadUntil("\n"));
    EXPECT_EQ(line["done"], false);
    EXPECT_EQ(line.contains("message") ? line["message"]["content"] : line["response"], "");
    EXPECT_FALSE(line.contains("thinking"));
  }
};

// They wait for the interval together.
TEST_F(KeepAliveTest, StreamsSayThatTheyLiveAndWholeAnswersNothing) {
  Open();
  const auto begin = std::chrono::steady_clock::now();
  std::vector<RawClient> wholes = AskAll(R"(,"stream":false)");
  std::vector<RawClient> streams = AskAll(R"(,"stream":true)");
  ASSERT_TRUE(small_.WaitForCalls(2 * static_cast<int>(kApis.size())));
  for (std::size_t i = 0; i < kApis.size(); ++i) {
    SCOPED_TRACE(kApis[i].path);
    ExpectKeepAlive(kApis[i], streams[i]);
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begin, kKeepAliveInterval);
  small_.Say(SmallStream()[2]);
  for (RawClient& stream : streams) {
    EXPECT_TRUE(stream.ReadUntil("So 2.").ends_with("So 2.")) << "it goes on";
  }
  door_.reset();  // which ends all connections
  for (RawClient& whole : wholes) EXPECT_EQ(whole.ReadToEnd(), "");
}

}  // namespace
}  // namespace thinkwire::router::http
