#include "router/client/output_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "common/rpc/output_index.h"

namespace thinkwire::router::client {
namespace {

v1::GenerateResponse Text(std::int32_t output, const std::string& text) {
  v1::GenerateResponse event;
  event.mutable_answer_delta()->set_output_index(output);
  event.mutable_answer_delta()->set_text(text);
  return event;
}

v1::GenerateResponse End(std::int32_t output) {
  v1::GenerateResponse event;
  event.mutable_finished()->set_output_index(output);
  return event;
}

// "0a 0b 0. 1a": outputs and their texts, or a dot for the end.
std::string Show(const OutputOrder::Events& events) {
  std::string shown;
  for (const v1::GenerateResponse& event : events) {
    shown += std::to_string(rpc::OutputIndexOf(event)) +
             (event.has_finished() ? "." : event.answer_delta().text());
    shown += " ";
  }
  return shown;
}

TEST(OutputOrderTest, TheFirstIsShownAsItComesAndTheOthersAfterIt) {
  OutputOrder order;
  EXPECT_EQ(Show(order.Add(Text(0, "a"))), "0a ");
  EXPECT_EQ(Show(order.Add(Text(2, "a"))), "");
  EXPECT_EQ(Show(order.Add(Text(1, "a"))), "");
  EXPECT_EQ(Show(order.Add(End(2))), "");
  EXPECT_EQ(Show(order.Add(Text(0, "b"))), "0b ");
  EXPECT_EQ(Show(order.Add(End(0))), "0. 1a ");
  EXPECT_EQ(Show(order.Add(Text(1, "b"))), "1b ");
  EXPECT_EQ(Show(order.Add(End(1))), "1. 2a 2. ");
  EXPECT_TRUE(order.TakeRest().empty());
}

TEST(OutputOrderTest, EventsOfNoOutputAreShownAtOnce) {
  OutputOrder order;
  order.Add(Text(1, "a"));
  v1::GenerateResponse moved;
  moved.mutable_moved();
  const OutputOrder::Events shown = order.Add(moved);
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_TRUE(shown[0].has_moved());
}

TEST(OutputOrderTest, WhereTheStreamEndsInTheMiddleTheRestComesInOrder) {
  OutputOrder order;
  order.Add(Text(2, "a"));
  order.Add(Text(1, "a"));
  order.Add(Text(2, "b"));
  EXPECT_EQ(Show(order.TakeRest()), "1a 2a 2b ");
}

TEST(OutputOrderTest, HoweverTheyInterleaveEachIsShownWholeInItsTurn) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::int32_t> whose;
    for (std::int32_t output = 0; output < 4; ++output) whose.insert(whose.end(), 5, output);
    std::ranges::shuffle(whose, random);
    OutputOrder order;
    std::vector<int> said(4);
    std::string shown;
    for (const std::int32_t output : whose) {
      const int index = said[static_cast<std::size_t>(output)]++;
      shown += Show(order.Add(index == 4 ? End(output) : Text(output, std::to_string(index))));
    }
    EXPECT_EQ(shown, "00 01 02 03 0. 10 11 12 13 1. 20 21 22 23 2. 30 31 32 33 3. ");
  }
}

}  // namespace
}  // namespace thinkwire::router::client
