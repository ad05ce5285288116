#include "router/query.h"

#include <gtest/gtest.h>

namespace thinkwire::router {
namespace {

TEST(MakeTask, EveryTaskHasAWordInTheContract) {
  for (const Task task : kAllTasks) EXPECT_EQ(ReadTask(MakeTask(task)), task);
  EXPECT_FALSE(ReadTask(v1::TASK_UNSPECIFIED).has_value());
}

TEST(MakeQuery, SaysWhatTheRequestAsksFor) {
  v1::GenerateRequest request;
  request.set_variant("qwen-7b");
  request.mutable_wishes()->set_task(v1::TASK_CODE);
  for (const char* text : {"1+1?", "2", "Why?"}) {
    request.mutable_prompt()->mutable_chat()->add_messages()->set_content(text);
  }
  const decision::Query query = MakeQuery(request);
  EXPECT_EQ(query.variant, "qwen-7b");
  EXPECT_EQ(query.task, Task::kCode);
  EXPECT_EQ(query.prompt_bytes, 9U);
}

TEST(MakeQuery, ACountIsDecidedAsItsGenerateWouldBe) {
  v1::CountTokensRequest request;
  request.mutable_prompt()->set_text("abc");
  const decision::Query query = MakeQuery(request);
  EXPECT_EQ(query.variant, "");
  EXPECT_FALSE(query.task.has_value());
  EXPECT_EQ(query.prompt_bytes, 3U);
}

}  // namespace
}  // namespace thinkwire::router
