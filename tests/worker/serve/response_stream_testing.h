#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/service_fixture.h"
#include "thinkwire/v1/worker.pb.h"
#include "worker/serve/response_stream.h"

namespace thinkwire::worker::serve {

// A client that reads when it is told to.
class FakeSink final : public ResponseSink {
 public:
  explicit FakeSink(std::size_t capacity) : room_(capacity) {}

  bool Write(const v1::WorkerGenerateResponse& message) override {
    MutexLock lock(mu_);
    if (room_ == 0) {
      refused_ = true;
      changed_.NotifyAll();
      return false;
    }
    --room_;
    messages_.push_back(message);
    changed_.NotifyAll();
    return true;
  }
  void Finish(const absl::Status& status) override {
    MutexLock lock(mu_);
    EXPECT_FALSE(status_.has_value()) << "a stream ends once";
    status_ = status;
    changed_.NotifyAll();
  }

  // Makes room; the caller then tells the stream.
  void Read(std::size_t messages) {
    MutexLock lock(mu_);
    room_ += messages;
    refused_ = false;
  }
  void WaitUntilRefusedOrEnded() {
    MutexLock lock(mu_);
    while (!refused_ && !status_) changed_.Wait(mu_);
  }
  void WaitForMessages(std::size_t count) {
    MutexLock lock(mu_);
    while (messages_.size() < count && !status_) changed_.Wait(mu_);
  }
  absl::Status WaitUntilEnded() {
    MutexLock lock(mu_);
    while (!status_) changed_.Wait(mu_);
    return *status_;
  }
  bool ended() {
    MutexLock lock(mu_);
    return status_.has_value();
  }
  std::vector<v1::WorkerGenerateResponse> messages() {
    MutexLock lock(mu_);
    return messages_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::size_t room_ ABSL_GUARDED_BY(mu_);
  bool refused_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<v1::WorkerGenerateResponse> messages_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mu_);
};

inline constexpr std::size_t kUnlimited = 1'000'000;

inline v1::GenerateRequest MakeRequest(std::uint64_t seed) {
  v1::GenerateRequest request;
  for (const std::int32_t id : {kBos, std::int32_t{'q'}, kThink}) {
    request.mutable_prompt()->mutable_token_ids()->add_ids(id);
  }
  request.set_seed(seed);
  request.set_min_answer_tokens(0);  // max_tokens may end the reasoning
  return request;
}

inline std::shared_ptr<ResponseStream> Start(FakeWorker& worker, const v1::GenerateRequest& request,
                                             std::shared_ptr<FakeSink> sink,
                                             std::optional<Clock::TimePoint> deadline = {}) {
  auto reading = worker.reader.Read(request);
  EXPECT_TRUE(reading.ok()) << reading.status();
  reading->request.deadline = deadline;
  auto stream = ResponseStream::Make(
      worker.shared(),
      {.request_id = "r", .attempt = 7, .traceparent = "", .arrival = worker.clock.Now()},
      *std::move(reading), std::move(sink));
  stream->Begin();
  return stream;
}

struct Totals {
  std::vector<std::int32_t> ids;
  std::string reasoning, answer;
  std::optional<v1::Completed> completed;
};

// Adds the messages up, and checks what holds for every stream.
inline Totals AddUp(const std::vector<v1::WorkerGenerateResponse>& messages) {
  Totals totals;
  const auto take = [&](const auto& event) {
    totals.ids.insert(totals.ids.end(), event.token_ids().begin(), event.token_ids().end());
  };
  for (std::size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ(messages[i].attempt(), 7);
    EXPECT_EQ(messages[i].seq(), static_cast<std::int64_t>(i));
    EXPECT_EQ(messages[i].has_prompt_ids(), i == 0);
    const v1::GenerateResponse& event = messages[i].event();
    if (event.has_reasoning_delta()) {
      take(event.reasoning_delta());
      totals.reasoning += event.reasoning_delta().text();
    }
    if (event.has_reasoning_finished()) take(event.reasoning_finished());
    if (event.has_answer_delta()) {
      take(event.answer_delta());
      totals.answer += event.answer_delta().text();
    }
    if (event.has_finished()) take(event.finished());
    if (event.has_completed()) totals.completed = event.completed();
  }
  return totals;
}

// The ids of each output, by its index.
inline std::map<std::int32_t, std::vector<std::int32_t>> IdsByOutput(
    const std::vector<v1::WorkerGenerateResponse>& messages) {
  std::map<std::int32_t, std::vector<std::int32_t>> outputs;
  const auto take = [&](const auto& event) {
    std::vector<std::int32_t>& ids = outputs[event.output_index()];
    ids.insert(ids.end(), event.token_ids().begin(), event.token_ids().end());
  };
  for (const v1::WorkerGenerateResponse& message : messages) {
    const v1::GenerateResponse& event = message.event();
    if (event.has_reasoning_delta()) take(event.reasoning_delta());
    if (event.has_reasoning_finished()) take(event.reasoning_finished());
    if (event.has_answer_delta()) take(event.answer_delta());
    if (event.has_finished()) take(event.finished());
  }
  return outputs;
}

}  // namespace thinkwire::worker::serve
