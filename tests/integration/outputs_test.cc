// Several outputs of one request, by real processes.
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

using Ids = std::vector<std::int32_t>;

template <class Event>
void TakeIds(const Event& event, std::map<std::int32_t, Ids>& outputs) {
  Ids& ids = outputs[event.output_index()];
  ids.insert(ids.end(), event.token_ids().begin(), event.token_ids().end());
}

// What each output draws, by its index.
std::map<std::int32_t, Ids> OutputsOf(WorkerProcess& worker, std::int32_t n) {
  v1::GenerateRequest request = Ask("", 7);
  // Of what it was trained on the model is too sure for any temperature. Of more than a block.
  request.mutable_prompt()->set_text(
      "Apples, pears and plums grow on trees, while berries grow on ");
  request.mutable_sampling()->set_temperature(2);
  request.mutable_sampling()->set_top_p(1);
  request.set_max_tokens(200);
  request.set_n(n);
  std::map<std::int32_t, Ids> outputs;
  const Generation generation =
      worker.Generate(request, std::nullopt, [&](const v1::WorkerGenerateResponse& message) {
        const v1::GenerateResponse& event = message.event();
        if (event.has_reasoning_delta()) TakeIds(event.reasoning_delta(), outputs);
        if (event.has_reasoning_finished()) TakeIds(event.reasoning_finished(), outputs);
        if (event.has_answer_delta()) TakeIds(event.answer_delta(), outputs);
        if (event.has_finished()) TakeIds(event.finished(), outputs);
        return true;
      });
  EXPECT_TRUE(generation.status.ok()) << generation.status;
  return outputs;
}

TEST(OutputsTest, TheSeedSaysWhatEachDrawsWhateverElseIsSo) {
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel)});
  WorkerProcess other(
      {absl::StrCat("--model=", kTinyModel), "--enable_prefix_caching=false", "--max_num_seqs=2"});
  ASSERT_TRUE(worker.listening());
  ASSERT_TRUE(other.listening());
  const std::map<std::int32_t, Ids> three = OutputsOf(worker, 3);
  ASSERT_EQ(three.size(), 3U);
  EXPECT_NE(three.at(0), three.at(1));
  EXPECT_NE(three.at(1), three.at(2));
  EXPECT_EQ(OutputsOf(worker, 3), three) << "again, with the prompt in the prefix cache";
  EXPECT_EQ(OutputsOf(other, 3), three) << "with fewer slots than outputs";
  EXPECT_EQ(OutputsOf(worker, 1).at(0), three.at(0));
  EXPECT_TRUE(worker.WaitUntilIdle());
  EXPECT_TRUE(other.WaitUntilIdle());
}

TEST(OutputsTest, ThePersonSeesThemOneAfterTheOther) {
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel)});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  Process chat({kChat, "--router", router.address(), "--n=3", "--seed=7", "--choices=75,76",
                "What is 27+48?"});
  EXPECT_EQ(chat.Wait(), 0) << chat.error();
  const std::string error = chat.error();
  const auto first = error.find("[answer 1 of 3]");
  const auto second = error.find("[answer 2 of 3]");
  const auto third = error.find("[answer 3 of 3]");
  EXPECT_TRUE(first < second && second < third && third != error.npos) << error;
  // Each answer ends its line.
  const std::string output = chat.output();
  EXPECT_EQ(output.size(), 3 * std::string("75\n").size()) << output;
}

}  // namespace
}  // namespace thinkwire::integration
