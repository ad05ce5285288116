#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/clock.h"
#include "worker/engine/block_pool.h"
#include "worker/engine/prefill_pace.h"
#include "worker/engine/prefix_cache.h"
#include "worker/engine/prefix_use.h"
#include "worker/engine/sequence.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::engine {

// Whether the first in the queue may run, and the blocks that it starts with.
//
// A sequence is admitted with the blocks of all ids it has: those that its ids begin with from the
// prefix cache, where they are, and new ones for the rest. It always computes its last id, whose
// logits it needs. Some blocks are left free, so that those which run can grow for a while before
// one must be preempted again. A sequence whose ids cannot be computed before its deadline, at the
// best pace seen lately, is not worth beginning.
// Threads: the engine thread.
class Admission {
 public:
  enum class Verdict : std::uint8_t {
    kAdmit,
    kWait,     // for blocks
    kTooLate,  // for its deadline
  };
  struct Offer {
    Verdict verdict = Verdict::kWait;
    std::vector<std::int32_t> cached = {};  // blocks, first to last
  };

  // The pool, the cache and the pace must outlive this.
  Admission(const step::Limits& limits, bool enable_prefix_caching, BlockPool& pool,
            PrefixCache& cache, const PrefillPace& pace);

  // What can be done for a queued sequence beside `running` others. Changes nothing.
  Offer Consider(const Sequence& sequence, std::size_t running, Clock::TimePoint now) const;

  // How many of the inputs that a queued sequence has left it would have to compute, as far as the
  // prefix cache can tell now.
  std::int32_t InputsToCompute(const Sequence& sequence) const;

  // How many blocks a queued sequence lacks beside `running` others; none or fewer: it may start.
  std::int32_t MissingBlocks(const Sequence& sequence, std::size_t running) const;
  // Blocks that a queued sequence starts with.
  std::int32_t BlocksOf(const Sequence& sequence) const;

  // Gives `sequence` its blocks. REQUIRES: `offer` is Consider's for it, says kAdmit, and no block
  // was taken since; the sequence has none yet.
  void GiveBlocks(const Offer& offer, Sequence& sequence);

  // Of those that got their blocks.
  const PrefixUse& prefix_use() const { return prefix_use_; }

 private:
  std::vector<std::int32_t> CachedBlocks(const Sequence& sequence) const;
  bool IsTooLate(const Sequence& sequence, std::size_t cached_blocks, Clock::TimePoint now) const;
  // Of `cached`, those that are no free ones.
  std::int32_t SharedOf(const std::vector<std::int32_t>& cached) const;
  std::int32_t Spare(std::size_t running) const;
  void CountPrefixUse(const Sequence& sequence);

  const std::int32_t block_tokens_;
  const bool enable_prefix_caching_;
  BlockPool& pool_;
  PrefixCache& cache_;
  const PrefillPace& pace_;
  PrefixUse prefix_use_;
};

}  // namespace thinkwire::worker::engine
