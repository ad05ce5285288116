#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "common/mutex.h"
#include "router/generation.h"

namespace thinkwire::router {

inline constexpr std::chrono::seconds kSinkPatience{60};

// A sink that takes so many events until somebody makes room. Threads: any.
class TestSink final : public EventSink {
 public:
  explicit TestSink(std::size_t room = 1000) : room_(room) {}

  bool Write(const v1::GenerateResponse& event) override {
    MutexLock lock(mu_);
    changed_.NotifyAll();
    if (events_.size() >= room_) {
      ++refused_;
      return false;
    }
    events_.push_back(event);
    return true;
  }
  void Finish(const absl::Status& status, const std::optional<v1::Usage>& usage) override {
    MutexLock lock(mu_);
    usage_ = usage;
    EXPECT_FALSE(end_.has_value()) << "finished twice";
    end_ = status;
    changed_.NotifyAll();
  }

  void MakeRoom(std::size_t room) {
    MutexLock lock(mu_);
    room_ += room;
  }
  absl::Status WaitForEnd() {
    MutexLock lock(mu_);
    WaitUntil([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return end_.has_value(); });
    return end_.value_or(absl::DeadlineExceededError("no end came"));
  }
  bool WaitForRefusals(int number) {
    MutexLock lock(mu_);
    return WaitUntil([=, this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return refused_ >= number; });
  }
  bool WaitForEvents(std::size_t number) {
    MutexLock lock(mu_);
    return WaitUntil([=, this]()
                         ABSL_NO_THREAD_SAFETY_ANALYSIS { return events_.size() >= number; });
  }
  std::vector<v1::GenerateResponse> events() {
    MutexLock lock(mu_);
    return events_;
  }
  std::optional<v1::Usage> usage() {
    MutexLock lock(mu_);
    return usage_;
  }
  bool ended() {
    MutexLock lock(mu_);
    return end_.has_value();
  }

 private:
  bool WaitUntil(const std::function<bool()>& holds) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto give_up = std::chrono::steady_clock::now() + kSinkPatience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() >= give_up) return false;
      changed_.WaitFor(mu_, kSinkPatience);
    }
    return true;
  }

  Mutex mu_;
  CondVar changed_;
  std::size_t room_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::GenerateResponse> events_ ABSL_GUARDED_BY(mu_);
  int refused_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  std::optional<v1::Usage> usage_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router
