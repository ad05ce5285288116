#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "common/mutex.h"

namespace thinkwire::worker::hub {

// How far a download is. Threads: any.
class Progress {
 public:
  std::int64_t total_bytes() const { return total_bytes_.load(); }  // grows as files get known
  std::int64_t done_bytes() const { return done_bytes_.load(); }    // there before, or come since
  std::int64_t came_bytes() const { return came_bytes_.load(); }    // by the net, all in all
  std::string file() const {  // that is being brought; empty: none yet
    const MutexLock lock(mu_);
    return file_;
  }

  void Expect(std::int64_t bytes) { total_bytes_ += bytes; }
  // They were there before. Less than 0: they were thrown away.
  void Have(std::int64_t bytes) { done_bytes_ += bytes; }
  // They came just now.
  void Come(std::int64_t bytes) {
    done_bytes_ += bytes;
    came_bytes_ += bytes;
  }
  void Begin(const std::string& file) {
    const MutexLock lock(mu_);
    file_ = file;
  }

 private:
  std::atomic<std::int64_t> total_bytes_ = 0;
  std::atomic<std::int64_t> done_bytes_ = 0;
  std::atomic<std::int64_t> came_bytes_ = 0;
  mutable Mutex mu_;
  std::string file_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::hub
