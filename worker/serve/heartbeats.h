#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"

namespace thinkwire::worker::serve {

// Reminds streams that worker.proto has them say now and then that they are alive, whatever the
// engine is at.
// Owns: a thread. Threads: any.
class Heartbeats {
 public:
  class Stream {
   public:
    virtual ~Stream() = default;
    // Says that it is alive, soon, unless it has said something lately. Must not block.
    virtual void Beat() = 0;
  };

  // Beats every stream each `interval` of real time.
  explicit Heartbeats(Clock::Duration interval);
  ~Heartbeats();
  Heartbeats(const Heartbeats&) = delete;
  Heartbeats& operator=(const Heartbeats&) = delete;

  // Until the stream is destroyed.
  void Add(std::weak_ptr<Stream> stream);

 private:
  void Run();
  // Waits for the next beat; false if there is none.
  bool Wait();
  void BeatAll();

  const Clock::Duration interval_;
  Mutex mu_;
  CondVar changed_;
  std::vector<std::weak_ptr<Stream>> streams_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::worker::serve
