// Every two options of a request: they go together, or are refused by the name of one of them.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_contract.h"
#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/response_stream_testing.h"
#include "tests/worker/serve/service_fixture.h"

namespace thinkwire::worker::serve {
namespace {

struct Option {
  std::string field;
  std::function<void(v1::GenerateRequest&)> ask;
};

v1::GenerateRequest Question() {
  v1::GenerateRequest request;
  v1::ChatMessage& message = *request.mutable_prompt()->mutable_chat()->add_messages();
  message.set_role(v1::ROLE_USER);
  message.set_content("q");
  request.set_seed(1);
  return request;
}

std::vector<Option> OptionsOfThinking() {
  const auto thinking = [](void (*ask)(v1::Thinking&)) {
    return [ask](v1::GenerateRequest& request) { ask(*request.mutable_thinking()); };
  };
  return {
      {"thinking.mode", thinking([](auto& t) { t.set_mode(v1::THINKING_MODE_MODEL); })},
      {"thinking.budget_tokens", thinking([](auto& t) { t.set_budget_tokens(40); })},
      {"thinking.budget_from_deadline",
       thinking([](auto& t) { t.set_budget_from_deadline(true); })},
      {"thinking.landing_share", thinking([](auto& t) { t.set_landing_share(0.5F); })},
      {"thinking.closing_text", thinking([](auto& t) { t.set_closing_text("so"); })},
      {"thinking.min_tokens", thinking([](auto& t) { t.set_min_tokens(9); })},
      {"thinking.continue_text", thinking([](auto& t) {
         t.set_min_tokens(9);
         t.set_continue_text("");
       })},
      {"thinking.loop_limits",
       thinking([](auto& t) { t.mutable_loop_limits()->set_max_repeats(4); })},
  };
}

std::vector<Option> OptionsOfEnds() {
  return {
      {"loop_limits", [](auto& r) { r.mutable_loop_limits()->set_near_repetition_share(0.5F); }},
      {"max_tokens", [](auto& r) { r.set_max_tokens(80); }},
      {"min_answer_tokens", [](auto& r) { r.set_min_answer_tokens(30); }},
      {"clamp_max_tokens",
       [](auto& r) {
         r.set_clamp_max_tokens(true);
         r.set_max_tokens(100'000);
       }},
      {"ignore_eos", [](auto& r) { r.set_ignore_eos(true); }},
      {"sampling.stop_strings", [](auto& r) { r.mutable_sampling()->add_stop_strings("st"); }},
      {"answer_sampling.stop_token_ids",
       [](auto& r) { r.mutable_answer_sampling()->add_stop_token_ids('x'); }},
      {"progress", [](auto& r) { r.set_progress(true); }},
      {"require_resumable", [](auto& r) { r.set_require_resumable(true); }},
  };
}

std::vector<Option> OptionsOfDrawing() {
  return {
      {"sampling.logprobs",
       [](auto& r) {
         r.mutable_sampling()->set_logprobs(true);
         r.mutable_sampling()->set_top_logprobs(2);
       }},
      {"sampling.repetition_penalty",
       [](auto& r) { r.mutable_sampling()->set_repetition_penalty(1.2F); }},
      {"sampling.frequency_penalty",
       [](auto& r) { r.mutable_sampling()->set_frequency_penalty(0.5F); }},
      {"sampling.logit_bias",
       [](auto& r) { (*r.mutable_sampling()->mutable_logit_bias())[5] = 2; }},
      {"cache_salt", [](auto& r) { r.set_cache_salt("s"); }},
      {"n", [](auto& r) { r.set_n(2); }},
      {"consensus", [](auto& r) { r.mutable_consensus()->set_max_samples(2); }},
      {"answer_format", [](auto& r) { r.mutable_answer_format()->set_regex("[0-9]+"); }},
  };
}

std::vector<Option> Options() {
  std::vector<Option> options = OptionsOfThinking();
  for (auto& more : {OptionsOfEnds(), OptionsOfDrawing()}) {
    options.insert(options.end(), more.begin(), more.end());
  }
  return options;
}

// Whether the pair is a matter of this worker's engine alone.
bool IsOfTheEngine(const Option& option) {
  return option.field != "consensus" && option.field != "answer_format";
}

class OptionPairsTest : public testing::Test {
 protected:
  OptionPairsTest() { worker_.runner.AllowGoingBack(); }

  // The ids that come, by output; the stream is held to the contract.
  std::map<std::int32_t, std::vector<std::int32_t>> Run(const v1::GenerateRequest& request) {
    auto sink = std::make_shared<FakeSink>(kUnlimited);
    Start(worker_, request, sink, worker_.clock.Now() + std::chrono::minutes(10));
    const absl::Status status = sink->WaitUntilEnded();
    EXPECT_TRUE(status.ok()) << status;
    rpc::StreamContract contract(request);
    for (const v1::WorkerGenerateResponse& message : sink->messages()) {
      if (!message.has_event()) continue;
      const absl::Status fits = contract.Add(message.event());
      EXPECT_TRUE(fits.ok()) << fits;
    }
    EXPECT_TRUE(contract.End().ok()) << contract.End();
    return IdsByOutput(sink->messages());
  }

  FakeWorker worker_{engine::FakeModel(kVocabulary)};
};

TEST_F(OptionPairsTest, EveryTwoGoTogetherOrAreRefusedByName) {
  const std::vector<Option> options = Options();
  std::vector<std::string> refused;
  for (std::size_t i = 0; i < options.size(); ++i) {
    for (std::size_t j = i + 1; j < options.size(); ++j) {
      const std::string pair = absl::StrCat(options[i].field, " with ", options[j].field);
      SCOPED_TRACE(pair);
      v1::GenerateRequest request = Question();
      options[i].ask(request);
      options[j].ask(request);
      const absl::Status status = rpc::CheckRequest(request);
      if (!status.ok()) {
        const std::string field = rpc::ErrorMetadata(status, "field");
        EXPECT_TRUE(field == options[i].field || field == options[j].field) << status;
        if (IsOfTheEngine(options[i]) && IsOfTheEngine(options[j])) refused.push_back(pair);
      } else if (IsOfTheEngine(options[i]) && IsOfTheEngine(options[j])) {
        EXPECT_EQ(Run(request), Run(request)) << "equal seeds give equal ids";
      }
    }
  }
  EXPECT_EQ(refused, std::vector<std::string>{"thinking.loop_limits with loop_limits"});
}

}  // namespace
}  // namespace thinkwire::worker::serve
