#pragma once

#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "router/fleet/worker_pool.h"
#include "router/variant_config.h"

namespace thinkwire::router::fleet {

// A pool whose changes a test can wait for. Threads: any.
class PoolUnderTest {
 public:
  PoolUnderTest(std::vector<VariantConfig> variants, const Clock& clock,
                const Patience& patience = {}, Resolver& resolver = Resolver::OfMachine())
      : pool_(
            std::move(variants), clock,
            [this](const WorkerPool&) {
              MutexLock lock(mu_);
              changed_.NotifyAll();
            },
            patience, resolver) {}

  WorkerPool* operator->() { return &pool_; }
  WorkerPool& operator*() { return pool_; }

  // At most a minute; false if that was in vain.
  bool WaitUntil(const std::function<bool()>& holds) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!holds()) {
      if (std::chrono::steady_clock::now() >= give_up) return false;
      // Load changes without a change of liveness, so look again now and then.
      MutexLock lock(mu_);
      changed_.WaitFor(mu_, std::chrono::milliseconds(5));
    }
    return true;
  }
  // Ticks until all workers of these variants are live. One tick is not enough: the first
  // connection to a worker may fail on a busy machine.
  bool TickUntilLive(std::size_t num_variants = 1) {
    return WaitUntil([&] {
      pool_.Tick();
      for (std::size_t variant = 0; variant < num_variants; ++variant) {
        const VariantState state = pool_.Describe(variant);
        if (state.live < state.configured) return false;
      }
      return true;
    });
  }
  bool WaitForLive(std::size_t variant, int number) {
    return WaitUntil([&] { return pool_.Describe(variant).live == number; });
  }

 private:
  Mutex mu_;
  CondVar changed_;
  WorkerPool pool_;
};

}  // namespace thinkwire::router::fleet
