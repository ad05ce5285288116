#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "router/http/http_limits.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/http/apis.h"
#include "tests/router/http/http_client.h"

namespace thinkwire::router::http {

// Clients of a door at a port that do something while others ask.

// Those whose bodies arrive, as many as may at once.
inline std::vector<RawClient> FillWithBodies(int port) {
  constexpr std::size_t kMost = kMaxArrivingBodyBytes / kMaxBodyBytes;
  const std::string head = absl::StrCat(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n",
      "Expect: 100-continue\r\nContent-Length: ", kMaxBodyBytes, "\r\n\r\n");
  std::vector<RawClient> clients;
  while (clients.size() <= kMost) {
    RawClient client(port);
    client.Send(head);
    const std::string answer = client.ReadUntil("\r\n\r\n");
    if (answer.starts_with("HTTP/1.1 429 ")) return clients;
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 100 ")) << answer;
    clients.push_back(std::move(client));
  }
  ADD_FAILURE() << "more than " << kMost << " bodies arrive";
  return clients;
}

// One whose stream has said "So 2." and thinks on. Returns the stream's x-request-id.
inline std::string BeginThinking(FakeWorker& worker, RawClient& client) {
  const std::vector<v1::GenerateResponse> events = SmallStream();
  worker.SetScript({.events = {events.begin(), events.begin() + 3}, .stays_open = true});
  client.Send(MakeRequestText("POST", kChat.path, BodyFor(kChat, R"(,"stream":true)")));
  const std::string read = client.ReadUntil("So 2.");
  return ParseReply(read.substr(0, read.find("\r\n\r\n") + 4)).field("x-request-id");
}

}  // namespace thinkwire::router::http
