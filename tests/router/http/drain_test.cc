// How the door ends.

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/router/http/door_fixture.h"

namespace thinkwire::router::http {
namespace {

using DoorDrainTest = DoorTest;

TEST_F(DoorDrainTest, StreamsGoOnWhileNobodyNewIsServed) {
  Open();
  small_.SetScript({.events = {SmallStream()[0], SmallStream()[1]}, .stays_open = true});
  RawClient streaming(port());
  RawClient idle(port());
  idle.Send(MakeRequestText("GET", "/health"));
  EXPECT_NE(idle.ReadUntil("}}"), "");
  streaming.Send(MakeRequestText("POST", kChatPath, ChatBody(R"(,"stream":true)")));
  EXPECT_NE(streaming.ReadUntil("\"role\""), "");
  const int port_of_door = port();
  service_.StartDraining();
  door_->BeginDrain();
  EXPECT_EQ(idle.ReadToEnd(), "");
  EXPECT_FALSE(RawClient(port_of_door).is_connected());
  EXPECT_FALSE(service_.WaitUntilIdle(std::chrono::milliseconds(1)));
  const std::vector<v1::GenerateResponse> events = SmallStream();
  for (std::size_t i = 2; i < events.size(); ++i) small_.Say(events[i]);
  EXPECT_NE(streaming.ReadUntil("[DONE]").find("\"content\":\"2\""), std::string::npos);
}

TEST_F(DoorDrainTest, ARequestThatComesThenIsSentElsewhere) {
  Open();
  RawClient client(port());
  client.Send(MakeRequestText("GET", "/health"));
  EXPECT_NE(client.ReadUntil("}}"), "");
  service_.StartDraining();
  client.Send(MakeRequestText("POST", kChatPath, ChatBody(), {{"Connection", "close"}}));
  const Reply reply = ParseReply(client.ReadToEnd());
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.field("retry-after"), "1");
}

TEST_F(DoorDrainTest, ItsEndCancelsWhatStillRuns) {
  Open();
  small_.SetScript({.events = {SmallStream()[0], SmallStream()[1]}, .stays_open = true});
  RawClient client(port());
  client.Send(MakeRequestText("POST", kChatPath, ChatBody()));
  ASSERT_TRUE(small_.WaitForCalls(1));
  door_.reset();
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_TRUE(small_.WaitForCancels(1));
}

}  // namespace
}  // namespace thinkwire::router::http
