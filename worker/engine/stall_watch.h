#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "worker/engine/engine.h"

namespace thinkwire::worker::engine {

// Tells a stalled engine from a busy and from an idle one by looking at its pulse again and again.
//
// Stalled: for `limit` the engine has not waited for its inbox, has begun no turn and has taken
// back no step, and no rank has beaten. So a step may take any time as long as its layers go on,
// and an engine without work may sleep.
//
// Time counts only as far as it was looked at, kMaxGap a look at most: a process that was stopped,
// or a machine that slept, has not stalled.
// Threads: one.
class StallDetector {
 public:
  static constexpr Clock::Duration kMaxGap = std::chrono::seconds(1);

  explicit StallDetector(Clock::Duration limit) : limit_(limit) {}

  // What stands still and for how long, in one sentence, once it has for the limit.
  std::optional<std::string> Look(const EnginePulse& pulse, Clock::TimePoint now);

 private:
  const Clock::Duration limit_;
  std::optional<EnginePulse> last_;
  Clock::TimePoint looked_at_;
  Clock::Duration still_{};  // looked at since the last sign of life
};

// Looks at an engine ten times a second and calls `on_stall`, once, with the detector's sentence.
// Owns: one thread. Threads: `on_stall` on the watch's, which shares no lock with the engine's.
class StallWatch {
 public:
  // `engine` and `clock` must outlive the watch.
  StallWatch(const Engine& engine, const Clock& clock, Clock::Duration limit,
             std::function<void(const std::string&)> on_stall);
  ~StallWatch();  // ends the looking; waits for an `on_stall` that runs
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

 private:
  void Run();
  bool WaitForNextLook();  // false: no more

  const Engine& engine_;
  const Clock& clock_;
  const std::function<void(const std::string&)> on_stall_;

  StallDetector detector_;  // watch's thread only

  Mutex mu_;
  CondVar stopped_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// How long `say` may take before EndStalledProcess goes on without it.
inline constexpr Clock::Duration kLastWords = std::chrono::milliseconds(500);

// Runs `say` on a thread of its own and ends the process kLastWords later with exit code 70, even
// if `say` hangs (on a lock that the stuck thread holds, on a full pipe). Runs no destructor and
// calls no driver: both could wait for what is stuck.
[[noreturn]] void EndStalledProcess(std::function<void()> say);

}  // namespace thinkwire::worker::engine
