#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <latch>

#include "worker/serve/text_pool.h"

namespace thinkwire::worker::serve {

// Keeps one of the pool's threads with a job of `bytes` until the end of the scope.
class BusyThread {
 public:
  BusyThread(TextPool& pool, std::size_t bytes) {
    EXPECT_TRUE(pool.TryPost("", bytes, [this] {
      started_.count_down();
      release_.wait();
      over_.count_down();
    }));
    started_.wait();
  }
  ~BusyThread() {
    release_.count_down();
    over_.wait();
  }

 private:
  std::latch started_{1};
  std::latch release_{1};
  std::latch over_{1};
};

}  // namespace thinkwire::worker::serve
