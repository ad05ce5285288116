#include "router/task_estimate.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "common/json.h"
#include "router/query.h"

namespace thinkwire::router {
namespace {

TEST(EstimateTask, KnowsTheMarksOfEachTask) {
  EXPECT_EQ(EstimateTask("What is $\\int_0^1 x^2 dx$?"), Task::kMath);
  EXPECT_EQ(EstimateTask("3x + 7 = 22, x = ?"), Task::kMath);
  EXPECT_EQ(EstimateTask("Why does this crash?\n```\nint main() { return *p; }\n```"), Task::kCode);
  EXPECT_EQ(EstimateTask("How does a catalyst speed up a reaction?"), Task::kScience);
  EXPECT_EQ(EstimateTask("Write a haiku about autumn rain."), Task::kWriting);
  EXPECT_EQ(EstimateTask("Summarize the following text: Acme sold 12 boats."), Task::kExtraction);
  EXPECT_EQ(EstimateTask("用Python写一段代码，读取文件"), Task::kCode);
  EXPECT_EQ(EstimateTask("证明根号2是无理数"), Task::kMath);
}

TEST(EstimateTask, WhatTellsOfNothingIsGeneral) {
  for (const char* text : {"", "hello", "Which city should I visit in May?", "你好，你是谁？"}) {
    EXPECT_EQ(EstimateTask(text), Task::kGeneral) << text;
  }
}

TEST(EstimateTask, LooksAtBothEndsOfALongText) {
  const std::string filler(100'000, 'z');
  EXPECT_EQ(EstimateTask(filler + " ```def f(): compile the python code```"), Task::kCode);
  EXPECT_EQ(EstimateTask("Summarize this text. " + filler), Task::kExtraction);
}

// Written one by one, in seven languages, half of them meant to be hard, by somebody who did not
// know the rules; the words were chosen by looking at the lines of odd number.
TEST(EstimateTask, IsRightForMostOfThreeHundredLabelledPrompts) {
  std::ifstream file("tests/data/task_prompts.jsonl");
  std::array<int, 2> right{};  // on lines of even and of odd number
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    const auto prompt = ParseJson(line, "prompt");
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    v1::Task task{};
    ASSERT_TRUE(v1::Task_Parse(prompt->at("task").get<std::string>(), &task));
    const bool is_right = MakeTask(EstimateTask(prompt->at("text").get<std::string>())) == task;
    right.at(++number % 2) += is_right ? 1 : 0;
  }
  EXPECT_EQ(number, 300);
  EXPECT_GE(right[0], 97);   // of 150; 99 when it was written
  EXPECT_GE(right[1], 129);  // of 150; 132
}

TEST(EstimateTask, TakesAnyBytes) {
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes += static_cast<char>(i * 37 % 256);
  for (std::size_t length = 0; length < 300; ++length) EstimateTask(bytes.substr(0, length));
  EstimateTask(bytes);
}

}  // namespace
}  // namespace thinkwire::router
