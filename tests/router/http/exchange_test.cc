#include "router/http/exchange.h"

#include <gtest/gtest.h>

#include <string>

namespace thinkwire::router::http {
namespace {

class Watched final : public Exchange {
 public:
  int rooms = 0;
  int goes = 0;
  int overs = 0;

 private:
  void OnRoom() override { ++rooms; }
  void OnGone() override { ++goes; }
  void OnOver() override { ++overs; }
};

TEST(ExchangeTest, TakesNoMoreThanItsBoundAndTellsOfRoom) {
  Watched exchange;
  exchange.Begin({});
  EXPECT_TRUE(exchange.HasRoom());
  exchange.Append(std::string(kMaxPendingBytes, 'x'));
  EXPECT_FALSE(exchange.HasRoom());
  EXPECT_EQ(exchange.Take().body.size(), kMaxPendingBytes);
  EXPECT_EQ(exchange.rooms, 0);
  exchange.Sent();
  EXPECT_EQ(exchange.rooms, 1);
  EXPECT_TRUE(exchange.HasRoom());
  exchange.Sent();
  EXPECT_EQ(exchange.rooms, 1);
}

TEST(ExchangeTest, OnlyTheFirstAnswerCounts) {
  Watched exchange;
  exchange.Respond({.status = 404}, "no");
  exchange.Respond({.status = 200}, "yes");
  exchange.Begin({});
  exchange.Append("more");
  const Exchange::Output output = exchange.Take();
  EXPECT_EQ(output.head->status, 404);
  EXPECT_EQ(output.head->content_length, 2u);
  EXPECT_EQ(output.body, "no");
  EXPECT_TRUE(output.ends);
  EXPECT_EQ(exchange.status(), 404);
}

TEST(ExchangeTest, WhoIsGoneIsSentNothing) {
  Watched exchange;
  exchange.Begin({});
  exchange.Append("text");
  exchange.Lose();
  exchange.Lose();
  exchange.Append("text");
  exchange.End();
  EXPECT_EQ(exchange.goes, 1);
  EXPECT_EQ(exchange.Take().body, "");
  exchange.Detach();
  EXPECT_EQ(exchange.overs, 1);
}

TEST(ExchangeTest, TellsTheConnectionOnceUntilItTakes) {
  Watched exchange;
  int told = 0;
  exchange.Attach([&] { ++told; });
  exchange.Begin({});
  exchange.Append("a");
  exchange.Append("b");
  EXPECT_EQ(told, 1);
  EXPECT_EQ(exchange.Take().body, "ab");
  exchange.Append("c");  // while the first is being sent, whose end looks again
  EXPECT_EQ(told, 1);
  exchange.Sent();
  EXPECT_EQ(exchange.Take().body, "c");
  exchange.Sent();
  exchange.Append("d");
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace thinkwire::router::http
