// A stream of several outputs.
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/rpc/status_details.h"
#include "common/rpc/stream_contract.h"
#include "tests/worker/serve/output_testing.h"
#include "tests/worker/serve/response_stream_testing.h"
#include "tests/worker/serve/sent_state.h"

namespace thinkwire::worker::serve {
namespace {

using Messages = std::vector<v1::WorkerGenerateResponse>;
using ById = std::map<std::int32_t, std::vector<std::int32_t>>;

// The texts of seed 1, by output, after MakeRequest's prompt of three ids.
const std::vector<std::vector<std::int32_t>> kTexts = {
    {'a', 'b', kThinkEnd, '\n', 'c', kEos},
    {'d', kThinkEnd, 'e', 'f', 'g', 'h', kEos},
    {'i', 'j', 'k', 'l', kThinkEnd, kEos},
};

engine::FakeModel Model() {
  engine::FakeModel model(kVocabulary);
  for (std::uint32_t output = 0; output < kTexts.size(); ++output) {
    std::int32_t position = 3;
    for (const std::int32_t id : kTexts[output]) model.ScriptOutput(1, output, position++, id);
  }
  return model;
}

v1::GenerateRequest Ask(std::int32_t n) {
  v1::GenerateRequest request = MakeRequest(1);
  request.set_n(n);
  return request;
}

// What nobody ends.
v1::GenerateRequest AskForLong(std::int32_t n) {
  v1::GenerateRequest request = MakeRequest(5);
  request.set_n(n);
  request.set_ignore_eos(true);
  return request;
}

OutputEvents::Events EventsOf(const Messages& messages, std::int32_t output) {
  OutputEvents::Events events;
  for (const v1::WorkerGenerateResponse& message : messages) {
    const v1::GenerateResponse& event = message.event();
    const bool is_its =
        (event.has_reasoning_delta() && event.reasoning_delta().output_index() == output) ||
        (event.has_reasoning_finished() && event.reasoning_finished().output_index() == output) ||
        (event.has_answer_delta() && event.answer_delta().output_index() == output) ||
        (event.has_finished() && event.finished().output_index() == output);
    if (is_its) events.push_back(event);
  }
  return events;
}

void ExpectContract(const v1::GenerateRequest& request, const Messages& messages,
                    const v1::ResumeState* state = nullptr) {
  rpc::StreamContract contract(request);
  if (state != nullptr) contract.Resume(*state);
  for (const v1::WorkerGenerateResponse& message : messages) {
    const absl::Status fits = contract.Add(message.event());
    ASSERT_TRUE(fits.ok()) << fits;
  }
  EXPECT_TRUE(contract.End().ok()) << contract.End();
}

Messages RunAll(FakeWorker& worker, const v1::GenerateRequest& request) {
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  Start(worker, request, sink);
  const absl::Status status = sink->WaitUntilEnded();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(worker.WaitUntilIdle());
  return sink->messages();
}

TEST(OutputsTest, EachHasItsPhasesAndAllOneCompleted) {
  FakeWorker worker(Model());
  const Messages messages = RunAll(worker, Ask(3));
  ExpectContract(Ask(3), messages);
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    EXPECT_EQ(IdsByOutput(messages).at(static_cast<std::int32_t>(i)), kTexts[i]);
  }
  EXPECT_EQ(Join(EventsOf(messages, 0)).reasoning, "ab");
  EXPECT_EQ(Join(EventsOf(messages, 1)).reasoning, "d");
  EXPECT_EQ(Join(EventsOf(messages, 2)).reasoning, "ijkl");
  EXPECT_EQ(Join(EventsOf(messages, 0)).answer, "c");
  EXPECT_EQ(Join(EventsOf(messages, 1)).answer, "efgh");
  EXPECT_EQ(Join(EventsOf(messages, 2)).answer, "");
  const v1::Usage usage = AddUp(messages).completed->usage();
  EXPECT_EQ(usage.prompt_tokens(), 3);
  EXPECT_EQ(usage.cached_prompt_tokens(), 0);
  EXPECT_EQ(usage.reasoning_tokens(), 3 + 2 + 5);
  EXPECT_EQ(usage.answer_tokens(), 3 + 5 + 1);
  EXPECT_EQ(usage.discarded_tokens(), 0);
}

TEST(OutputsTest, WhatTheOthersAreDoesNotMatter) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  v1::GenerateRequest request = AskForLong(2);
  request.set_max_tokens(30);
  const ById two = IdsByOutput(RunAll(worker, request));
  request.set_n(7);  // there are four slots
  const ById seven = IdsByOutput(RunAll(worker, request));
  ASSERT_EQ(two.size(), 2U);
  ASSERT_EQ(seven.size(), 7U);
  EXPECT_EQ(two.at(0), seven.at(0));
  EXPECT_EQ(two.at(1), seven.at(1));
  EXPECT_NE(two.at(0), two.at(1));
  request.clear_n();
  EXPECT_EQ(IdsByOutput(RunAll(worker, request)).at(0), two.at(0));
}

TEST(OutputsTest, OfACachedPromptTheFirstOnesShareIsTold) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  v1::GenerateRequest request = AskForLong(5);
  request.mutable_prompt()->set_text(std::string(40, 'a'));
  request.set_max_tokens(2);
  EXPECT_EQ(AddUp(RunAll(worker, request)).completed->usage().cached_prompt_tokens(), 0);
  EXPECT_EQ(AddUp(RunAll(worker, request)).completed->usage().cached_prompt_tokens(), 32);
}

TEST(OutputsTest, StopStringsEndTheirOwnOutputAlone) {
  FakeWorker worker(Model());
  v1::GenerateRequest request = Ask(3);
  request.mutable_answer_sampling()->add_stop_strings("f");
  const Messages messages = RunAll(worker, request);
  ExpectContract(request, messages);
  EXPECT_EQ(Join(EventsOf(messages, 0)).finished.reason(), v1::FINISH_REASON_END);
  EXPECT_EQ(Join(EventsOf(messages, 1)).finished.reason(), v1::FINISH_REASON_STOP_STRING);
  EXPECT_EQ(Join(EventsOf(messages, 1)).answer, "e");
}

TEST(OutputsTest, EachHasItsBudgetAndItsLogprobs) {
  FakeWorker worker(Model());
  worker.runner.AllowGoingBack();
  v1::GenerateRequest request = Ask(3);
  request.mutable_thinking()->set_budget_tokens(2);
  request.mutable_thinking()->set_closing_text("");
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_top_logprobs(2);
  request.set_max_tokens(20);
  const Messages messages = RunAll(worker, request);
  ExpectContract(request, messages);
  EXPECT_EQ(Join(EventsOf(messages, 1)).reasoning_finished.cause(),
            v1::REASONING_FINISH_CAUSE_MODEL);
  EXPECT_EQ(Join(EventsOf(messages, 2)).reasoning_finished.cause(),
            v1::REASONING_FINISH_CAUSE_BUDGET);
  EXPECT_EQ(Join(EventsOf(messages, 2)).reasoning, "ij");
}

TEST(OutputsTest, EachAnswersInTheFormat) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  worker.runner.AllowGoingBack();
  v1::GenerateRequest request = MakeRequest(1);
  request.set_n(4);
  request.mutable_thinking()->set_budget_tokens(3);
  request.mutable_answer_format()->mutable_choices()->add_choices("yes");
  request.mutable_answer_format()->mutable_choices()->add_choices("no");
  const Messages messages = RunAll(worker, request);
  ExpectContract(request, messages);
  for (std::int32_t i = 0; i < 4; ++i) {
    const std::string answer = Join(EventsOf(messages, i)).answer;
    EXPECT_TRUE(answer == "yes" || answer == "no") << answer;
  }
}

// All have as much to say as fits, and the reader takes one message after the other.
TEST(OutputsTest, TheyTakeTurnsWhereTheReaderIsSlow) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  auto sink = std::make_shared<FakeSink>(3);
  const auto stream = Start(worker, AskForLong(3), sink);
  while (worker.engine.status().paused < 3) std::this_thread::yield();
  worker.runner.CloseGate();  // 64 tokens of each are there, a quarter of which is one turn's
  const std::size_t before = sink->messages().size();
  for (std::size_t count = before + 1; count <= before + 12; ++count) {
    sink->Read(1);
    stream->Resume();
    sink->WaitForMessages(count);
  }
  std::vector<std::int32_t> order;  // whose turn it was
  const Messages messages = sink->messages();
  for (std::size_t i = before; i < messages.size(); ++i) {
    for (const auto& [output, ids] : IdsByOutput({messages[i]})) {
      if (order.empty() || order.back() != output) order.push_back(output);
    }
  }
  EXPECT_GE(order.size(), 6U);
  for (std::size_t i = 1; i < order.size(); ++i) EXPECT_EQ(order[i], (order[i - 1] + 1) % 3);
  stream->Cancel();
  worker.runner.OpenGate();
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(OutputsTest, CancelEndsAllAndFreesTheirBlocks) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  worker.runner.CloseGate();
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  std::weak_ptr<ResponseStream> watched;
  {
    const auto stream = Start(worker, AskForLong(7), sink);
    watched = stream;
    sink->WaitForMessages(1);
    stream->Cancel();
  }
  worker.runner.OpenGate();
  EXPECT_EQ(sink->WaitUntilEnded().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(worker.WaitUntilIdle());
  worker.pool.Stop();
  EXPECT_TRUE(watched.expired());
}

TEST(OutputsTest, OneThatFailsFailsAll) {
  engine::FakeModel model(kVocabulary);
  model.ScriptNotFinite(5, 9);
  FakeWorker worker(std::move(model));
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  Start(worker, AskForLong(6), sink);
  EXPECT_EQ(rpc::ErrorReason(sink->WaitUntilEnded()), "NOT_FINITE");
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(OutputsTest, AFullQueueTakesAllOrNone) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  worker.runner.CloseGate();
  auto running = std::make_shared<FakeSink>(kUnlimited);
  const auto stream = Start(worker, AskForLong(10), running);
  running->WaitForMessages(1);
  auto refused = std::make_shared<FakeSink>(kUnlimited);
  Start(worker, AskForLong(3), refused);
  const absl::Status status = refused->WaitUntilEnded();
  EXPECT_EQ(rpc::ErrorReason(status), "QUEUE_FULL");
  EXPECT_TRUE(refused->messages().empty()) << "nothing has started";
  stream->Cancel();
  worker.runner.OpenGate();
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(OutputsTest, AnswerNowIsForOneOrForAll) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  worker.runner.AllowGoingBack();
  worker.runner.CloseGate();
  v1::GenerateRequest request = AskForLong(3);
  request.set_max_tokens(200);
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  const auto stream = Start(worker, request, sink);
  EXPECT_EQ(stream->AnswerNow(1), 1);
  EXPECT_EQ(stream->AnswerNow(1), 0);
  EXPECT_EQ(stream->AnswerNow(3), 0) << "there is none";
  EXPECT_EQ(stream->AnswerNow(std::nullopt), 2);
  worker.runner.OpenGate();
  EXPECT_TRUE(sink->WaitUntilEnded().ok());
  for (std::int32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(Join(EventsOf(sink->messages(), i)).reasoning_finished.cause(),
              v1::REASONING_FINISH_CAUSE_ANSWER_NOW);
  }
}

// The sum of what was read before each cut and of what comes after it.
TEST(OutputsTest, AnyCutOfAStreamGivesTheWhole) {
  FakeWorker worker(Model());
  const Messages whole = RunAll(worker, Ask(3));
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    SCOPED_TRACE(testing::Message() << "after " << cut << " messages");
    const Messages begin(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(cut));
    OutputEvents::Events sent;
    for (std::int32_t i = 0; i < 3; ++i) {
      for (v1::GenerateResponse& event : EventsOf(begin, i)) sent.push_back(std::move(event));
    }
    const v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, sent);
    auto reading = worker.reader.Read(Ask(3), &state);
    ASSERT_TRUE(reading.ok()) << reading.status();
    auto sink = std::make_shared<FakeSink>(kUnlimited);
    ResponseStream::Make(
        worker.shared(),
        {.request_id = "r", .attempt = 7, .traceparent = "", .arrival = worker.clock.Now()},
        *std::move(reading), sink)
        ->Begin();
    ASSERT_TRUE(sink->WaitUntilEnded().ok());
    ExpectContract(Ask(3), sink->messages(), &state);
    ById ids = IdsByOutput(begin);
    for (const auto& [index, rest] : IdsByOutput(sink->messages())) {
      ids[index].insert(ids[index].end(), rest.begin(), rest.end());
    }
    for (std::size_t i = 0; i < kTexts.size(); ++i) {
      EXPECT_EQ(ids[static_cast<std::int32_t>(i)], kTexts[i]);
    }
    const v1::Usage usage = AddUp(sink->messages()).completed->usage();
    EXPECT_EQ(usage.reasoning_tokens(), 3 + 2 + 5);
    EXPECT_EQ(usage.answer_tokens(), 3 + 5 + 1);
    EXPECT_TRUE(worker.WaitUntilIdle());
  }
}

TEST(OutputsTest, AStateThatIsWrongIsNamedByItsPlace) {
  FakeWorker worker(Model());
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  v1::OutputState& other = *state.add_outputs();
  other.set_output_index(2);
  other.add_token_ids(kVocabulary);
  const absl::Status status = worker.reader.Read(Ask(3), &state).status();
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "resume.outputs[1].token_ids[0]");
}

TEST(OutputsTest, WhatIsKeptOfARequestGrowsWithItsOutputs) {
  FakeWorker worker(Model());
  v1::GenerateRequest request = Ask(1);
  request.mutable_prompt()->set_text(std::string(400, 'a'));
  const std::size_t one = worker.reader.Read(request)->bytes();
  request.set_n(64);
  const std::size_t all = worker.reader.Read(request)->bytes();
  EXPECT_GE(all, 64 * 2 * 400 * sizeof(std::int32_t));
  EXPECT_LE(all, 64 * one);
}

}  // namespace
}  // namespace thinkwire::worker::serve
