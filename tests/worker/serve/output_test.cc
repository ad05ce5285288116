#include "worker/serve/output.h"

#include <gtest/gtest.h>

#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/service_fixture.h"

namespace thinkwire::worker::serve {
namespace {

// An output whose reader waits until it is told to look.
class OutputTest : public testing::Test {
 protected:
  static engine::FakeModel Model() {
    engine::FakeModel model(kVocabulary);
    ScriptIds(model, 1, 3, {kThinkEnd, 'o', 'k', '!'});
    return model;
  }

  static engine::Request Ask() {
    engine::Request request;
    request.prompt_ids = {kBos, 'q', kThink};
    request.sampling.seed = 1;
    request.sampling.think_end_id = kThinkEnd;
    request.max_tokens = 400;  // more than the outbox holds: it cannot end by itself
    request.ignore_eos = true;
    return request;
  }

  void Make(OutputEvents::Options options = {}) {
    auto events = std::make_unique<OutputEvents>(*worker_.tokenizer, std::move(options));
    output_ = std::make_unique<Output>(worker_.engine, std::move(events), [signal = signal_] {
      MutexLock lock(signal->mu);
      signal->ready = true;
      signal->changed.NotifyAll();
    });
  }

  bool Submit(engine::Request request) {
    std::vector<engine::Request> requests;
    requests.push_back(std::move(request));
    return Output::Submit(std::span(&output_, 1), std::move(requests));
  }

  void TakeUntilEnded() {
    while (!output_->ended()) {
      {
        MutexLock lock(signal_->mu);
        while (!signal_->ready) signal_->changed.Wait(signal_->mu);
        signal_->ready = false;
      }
      while (const std::optional<Output::News> news = output_->Take({})) {
        for (const std::int32_t tokens : news->tokens) tokens_ += tokens;
        for (const v1::GenerateResponse& event : news->events) events_.push_back(event);
      }
    }
  }

  struct Signal {
    Mutex mu;
    CondVar changed;
    bool ready ABSL_GUARDED_BY(mu) = false;
  };

  FakeWorker worker_{Model()};
  const std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();
  std::unique_ptr<Output> output_;
  std::int32_t tokens_ = 0;
  OutputEvents::Events events_;
};

TEST_F(OutputTest, EndsTheEnginesWorkAtAStopString) {
  OutputEvents::Options options;
  options.stop_strings[step::Phase::kAnswer] = {"k"};
  Make(std::move(options));
  ASSERT_TRUE(Submit(Ask()));
  TakeUntilEnded();
  EXPECT_TRUE(output_->finished());
  EXPECT_FALSE(output_->refused());
  EXPECT_EQ(output_->ending().reason, engine::EndReason::kFinishedByReader);
  EXPECT_TRUE(events_.back().has_finished());
  EXPECT_EQ(output_->counts().total(), 3);
  EXPECT_EQ(tokens_, 3);
  EXPECT_EQ(output_->discarded_tokens(), output_->ending().generated_tokens - 3);
  EXPECT_TRUE(worker_.WaitUntilIdle());
}

TEST_F(OutputTest, CancelBeforeTheEngineHasItIsKept) {
  Make();
  output_->Cancel();
  worker_.runner.CloseGate();
  ASSERT_TRUE(Submit(Ask()));
  worker_.runner.OpenGate();
  TakeUntilEnded();
  EXPECT_EQ(output_->ending().reason, engine::EndReason::kCancelled);
  EXPECT_FALSE(output_->finished());
  EXPECT_FALSE(output_->Take({}));
}

TEST_F(OutputTest, TakesAQuarterOfTheOutboxAtOnceAndSaysThatThereIsMore) {
  Make();
  ASSERT_TRUE(Submit(Ask()));
  while (worker_.engine.status().steps < 64) std::this_thread::yield();
  for (int takes = 0; takes < 2; ++takes) {
    const std::optional<Output::News> news = output_->Take({});
    ASSERT_TRUE(news);
    EXPECT_EQ(news->tokens[step::Phase::kReasoning] + news->tokens[step::Phase::kAnswer], 16);
    EXPECT_TRUE(news->more);
  }
  while (worker_.engine.status().steps < 96) std::this_thread::yield();  // it was woken
  output_->Cancel();
  TakeUntilEnded();
}

TEST_F(OutputTest, WhatTheEngineRefusesEndsWithItsReason) {
  Make();
  engine::Request request = Ask();
  request.prompt_ids.clear();
  EXPECT_FALSE(Submit(std::move(request)));
  EXPECT_FALSE(output_->ended());
  EXPECT_TRUE(output_->Take({}));
  EXPECT_TRUE(output_->ended());
  ASSERT_TRUE(output_->refused());
  EXPECT_EQ(output_->refused()->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(output_->discarded_tokens(), 0);
}

}  // namespace
}  // namespace thinkwire::worker::serve
