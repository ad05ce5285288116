#include "router/task.h"

#include <gtest/gtest.h>

namespace thinkwire::router {
namespace {

TEST(Task, EveryTaskIsFoundByItsName) {
  for (const Task task : kAllTasks) EXPECT_EQ(TaskByName(TaskName(task)), task);
  EXPECT_EQ(TaskByName("math"), Task::kMath);
  EXPECT_FALSE(TaskByName("Math").has_value());
  EXPECT_FALSE(TaskByName("").has_value());
}

}  // namespace
}  // namespace thinkwire::router
