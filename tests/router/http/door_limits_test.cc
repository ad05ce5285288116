// What a client of the door can hold of it, and for how long.

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/strings.h"
#include "router/http/http_limits.h"
#include "tests/router/http/door_fixture.h"
#include "tests/router/http/other_clients.h"
#include "tests/router/http/streams.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

using DoorLimitsTest = DoorTest;

TEST_F(DoorLimitsTest, AnAnswerThatIsTooLongForAWholeIsToBeAskedForAsAStream) {
  Open();
  constexpr int kPieces = static_cast<int>(kMaxWholeAnswerBytes / 4000) + 1;
  small_.SetScript({.events = LongStream(kPieces)});
  const Reply reply = Chat();
  EXPECT_EQ(reply.status, 422);
  const Json error = Json::parse(reply.body)["error"];
  EXPECT_EQ(error["code"], "answer_too_long");
  EXPECT_NE(error["message"].get<std::string>().find("\"stream\": true"), std::string::npos);
  EXPECT_TRUE(Chat(R"(,"stream":true)").body.ends_with("data: [DONE]\n\n"));
}

TEST_F(DoorLimitsTest, BodiesThatAreStillArrivingAreBounded) {
  Open();
  const std::vector<RawClient> clients = FillWithBodies(port());
  EXPECT_GT(clients.size(), 8u) << "some may";
  EXPECT_EQ(Ask(port(), "GET", "/health").status, 200) << "what has no body comes through";
}

// With the body as one chunk.
std::string ChunkedRequest(const std::string& body, std::string_view extension,
                           std::string_view trailers) {
  return absl::StrCat("POST ", kChatPath,
                      " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n",
                      absl::Hex(body.size()), View(extension), "\r\n", body, "\r\n0\r\n",
                      View(trailers), "\r\n");
}

std::string Lines(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) lines += "X: a\r\n";
  return lines;
}

// Each is longer than 16 KiB, and the value longer than Beast's fields can be.
TEST_F(DoorLimitsTest, HeadersAndWhatBodiesHaveOfThemAreBounded) {
  Open();
  const std::string value(100'000, 'a');
  const std::string texts[] = {
      absl::StrCat("GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", value, "\r\n\r\n"),
      absl::StrCat("GET /health HTTP/1.1\r\nHost: localhost\r\n", Lines(5000), "\r\n"),
      ChunkedRequest(ChatBody(), absl::StrCat(";x=", value), ""),
      ChunkedRequest(ChatBody(), "", absl::StrCat("X: ", value, "\r\n")),
      ChunkedRequest(ChatBody(), "", Lines(20'000)),
  };
  for (const std::string& text : texts) {
    RawClient client(port());
    client.Send(text);
    const Reply reply = ParseReply(client.ReadToEnd());
    EXPECT_EQ(reply.status, 431) << text.substr(0, 200);
    EXPECT_EQ(reply.field("connection"), "close");
  }
  EXPECT_EQ(Requests("other", "431"), 5);
  EXPECT_EQ(small_.num_calls(), 0);
}

TEST_F(DoorLimitsTest, WhatFollowsABodyIsNoHeader) {
  Open();
  RawClient client(port());
  client.Send(ChunkedRequest(ChatBody(), ";x=1",
                             "Host: elsewhere.example\r\nContent-Type: text/plain\r\n"));
  const Reply reply = ParseReply(client.ReadUntil("}}"));
  EXPECT_EQ(reply.status, 200) << reply.body;
}

// Slow in its header, or in its body.
TEST_F(DoorLimitsTest, ARequestThatDoesNotArriveInTimeIsToldSo) {
  Open({.patience = {.header = std::chrono::milliseconds(20),
                     .body = std::chrono::milliseconds(20)}});
  const std::string request = MakeRequestText("POST", kChatPath, ChatBody());
  for (const std::size_t sent : {std::size_t{1}, request.find("\r\n\r\n"), request.size() - 1}) {
    RawClient client(port());
    client.Send(std::string_view(request).substr(0, sent));
    const Reply reply = ParseReply(client.ReadToEnd());
    EXPECT_EQ(reply.status, 408) << sent << " of " << request.size();
    EXPECT_EQ(Json::parse(reply.body)["error"]["message"], "the request has not arrived in time");
    EXPECT_EQ(reply.field("connection"), "close");
  }
  EXPECT_EQ(Requests("other", "408"), 3);
  EXPECT_EQ(small_.num_calls(), 0);
}

TEST_F(DoorLimitsTest, AConnectionThatAsksNothingIsClosed) {
  Open({.patience = {.idle = std::chrono::milliseconds(20)}});
  EXPECT_EQ(RawClient(port()).ReadToEnd(), "");
}

TEST_F(DoorLimitsTest, AReaderOfASmallWindowGetsEverything) {
  Open();
  constexpr int kDeltas = 600;
  small_.SetScript({.events = LongStream(kDeltas)});
  RawClient client(port(), /*receive_buffer=*/4096);
  client.Send(
      MakeRequestText("POST", kChatPath, ChatBody(R"(,"stream":true)"), {{"Connection", "close"}}));
  ASSERT_TRUE(small_.WaitForCalls(1));
  const Reply reply = ParseReply(client.ReadToEnd());
  std::size_t letters = 0;
  for (const char c : reply.body) letters += c == 'Z' ? 1 : 0;
  EXPECT_EQ(letters, std::size_t{kDeltas} * 4000);
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
}

TEST_F(DoorLimitsTest, AConnectionThatAsksNothingEndsForANewOne) {
  Open({.max_connections = 2});
  RawClient first(port());
  RawClient second(port());
  RawClient third(port());
  EXPECT_EQ(first.ReadToEnd(), "");
  for (RawClient* client : {&second, &third}) {
    client->Send(MakeRequestText("GET", "/health"));
    EXPECT_NE(client->ReadUntil("}}"), "");
  }
}

// The files, in this process, of the door's end of the connection from a port.
std::vector<int> EndOf(int port) {
  std::vector<int> files;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int file = std::stoi(entry.path().filename().string());
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    const bool is_connection = getpeername(file, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
                               peer.sin_family == AF_INET;
    if (is_connection && ntohs(peer.sin_port) == port) files.push_back(file);
  }
  return files;
}

// As long as the door's own time for a write, and not gRPC's few seconds.
TEST_F(DoorLimitsTest, TheKernelHasPatienceWithWhoReadsNothing) {
  Open();
  RawClient client(port());
  client.Send(MakeRequestText("GET", "/health"));
  EXPECT_NE(client.ReadUntil("}}"), "");
  const std::vector<int> end = EndOf(client.port());
  ASSERT_EQ(end.size(), 1u) << "a connection takes one file";
  int milliseconds = 0;
  socklen_t size = sizeof(milliseconds);
  ASSERT_EQ(getsockopt(end.front(), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, &size), 0);
  EXPECT_EQ(std::chrono::milliseconds(milliseconds), kWriteTimeout);
}

}  // namespace
}  // namespace thinkwire::router::http
