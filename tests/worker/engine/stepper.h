#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_runner.h"
#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"
#include "worker/engine/request_check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {

inline constexpr Clock::Duration kSlowReaderTimeout = std::chrono::seconds(60);

// A scheduler and a fake runner moved by hand in one thread: what the engine's loop does, step by
// step, with the invariants checked after each move.
class Stepper {
 public:
  explicit Stepper(const step::Limits& limits, FakeModel model = FakeModel(kVocab),
                   bool enable_prefix_caching = true, std::size_t max_parked = 1024)
      : limits_(limits),
        model_(std::move(model)),
        runner_(limits, model_),
        scheduler_({.end_of_sequence_ids = {kEos},
                    .slow_reader_timeout = kSlowReaderTimeout,
                    .enable_prefix_caching = enable_prefix_caching,
                    .max_parked = max_parked,
                    .post_mask_work = [this](auto work) { return Post(std::move(work)); }},
                   limits) {}
  ~Stepper() {
    while (scheduler_.steps_in_flight() > 0) Collect();
  }

  RequestHandle Add(Request request, Reader& reader) {
    const std::int32_t max_tokens = CheckRequest(request, limits_).value();
    scheduler_.Add(++last_handle_, std::move(request), max_tokens, reader.stream());
    scheduler_.CheckInvariants();
    return last_handle_;
  }

  // Outputs of one prompt, each to the reader of its index.
  std::vector<RequestHandle> AddTogether(const std::vector<Request>& outputs,
                                         std::vector<Reader>& readers) {
    const RequestHandle first = last_handle_ + 1;
    std::vector<RequestHandle> handles;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      Request request = outputs[i];
      request.prompt_of = first;
      handles.push_back(Add(std::move(request), readers[i]));
    }
    return handles;
  }

  // Plans one step, if one more may be in flight and someone can go on.
  bool Submit() {
    if (scheduler_.steps_in_flight() == limits_.max_in_flight) return false;
    step::Plan plan = scheduler_.Plan(clock_.Now());
    scheduler_.CheckInvariants();
    if (plan.rows.empty()) return false;
    runner_.Submit(std::move(plan));
    return true;
  }

  void Collect() {
    scheduler_.Apply(runner_.Collect(), clock_.Now());
    scheduler_.CheckInvariants();
  }

  // One turn of the engine's loop; false if it would wait.
  bool Turn() {
    scheduler_.Expire(clock_.Now());
    while (Submit()) {
    }
    scheduler_.ReportQueue(clock_.Now());
    if (scheduler_.steps_in_flight() == 0) return false;
    Collect();
    return true;
  }

  void RunDry() {
    while (Turn()) {
    }
  }

  // From now on masks are found when FindMask is called, at most `max_waiting` of them later.
  void DelayMasks(std::size_t max_waiting = 1000) { max_mask_work_ = max_waiting; }
  // False if none is waited for.
  bool FindMask() {
    if (mask_work_.empty()) return false;
    mask_work_.front()();
    mask_work_.pop_front();
    return true;
  }

  // The rows of the last plan, as (slot, count).
  std::vector<std::pair<std::int32_t, std::int32_t>> LastRows() const {
    std::vector<std::pair<std::int32_t, std::int32_t>> rows;
    const step::Plan plan = runner_.plans().back();
    for (const step::Row& row : plan.rows) rows.emplace_back(row.slot, row.count);
    return rows;
  }

  void ExpectIdle() const {
    EXPECT_EQ(scheduler_.queued(), 0);
    EXPECT_EQ(scheduler_.running(), 0);
    EXPECT_EQ(scheduler_.parked(), 0);
    EXPECT_EQ(scheduler_.pool().referenced(), 0);
    EXPECT_EQ(scheduler_.free_slots(), limits_.max_num_seqs);
  }

  RequestHandle next_handle() const { return last_handle_ + 1; }
  Scheduler& scheduler() { return scheduler_; }
  FakeClock& clock() { return clock_; }
  FakeRunner& runner() { return runner_; }
  const FakeModel& model() const { return model_; }

 private:
  bool Post(std::function<void()> work) {
    if (mask_work_.size() >= max_mask_work_) return false;
    mask_work_.push_back(std::move(work));
    return true;
  }

  const step::Limits limits_;
  const FakeModel model_;
  FakeClock clock_;
  FakeRunner runner_;
  Scheduler scheduler_;
  RequestHandle last_handle_ = 0;
  std::size_t max_mask_work_ = 0;
  std::deque<std::function<void()>> mask_work_;
};

}  // namespace thinkwire::worker::engine
