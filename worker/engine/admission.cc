#include "worker/engine/admission.h"

#include <algorithm>
#include <span>

namespace thinkwire::worker::engine {
namespace {

// Blocks that admission leaves alone.
std::int32_t Headroom(std::size_t running, std::int32_t total_blocks) {
  if (running == 0) return 0;
  return std::max(static_cast<std::int32_t>(running), total_blocks / 100);
}

}  // namespace

Admission::Admission(const step::Limits& limits, bool enable_prefix_caching, BlockPool& pool,
                     PrefixCache& cache, const PrefillPace& pace)
    : block_tokens_(limits.block_tokens),
      enable_prefix_caching_(enable_prefix_caching),
      pool_(pool),
      cache_(cache),
      pace_(pace) {}

Admission::Offer Admission::Consider(const Sequence& sequence, std::size_t running,
                                     Clock::TimePoint now) const {
  const std::int32_t spare = Spare(running);
  if (spare < 1) return {};  // the block of the last id is never a shared one
  std::vector<std::int32_t> cached = CachedBlocks(sequence);
  if (IsTooLate(sequence, cached.size(), now)) return {.verdict = Verdict::kTooLate};
  if (BlocksOf(sequence) - SharedOf(cached) > spare) return {};
  return {.verdict = Verdict::kAdmit, .cached = std::move(cached)};
}

std::int32_t Admission::MissingBlocks(const Sequence& sequence, std::size_t running) const {
  return BlocksOf(sequence) - SharedOf(CachedBlocks(sequence)) - Spare(running);
}

std::int32_t Admission::SharedOf(const std::vector<std::int32_t>& cached) const {
  return static_cast<std::int32_t>(std::ranges::count_if(
      cached, [this](std::int32_t block) { return pool_.references(block) > 0; }));
}

std::int32_t Admission::Spare(std::size_t running) const {
  return pool_.free() - Headroom(running, pool_.total());
}

std::int32_t Admission::InputsToCompute(const Sequence& sequence) const {
  const auto cached = static_cast<std::int32_t>(CachedBlocks(sequence).size());
  return sequence.committed() - cached * block_tokens_;
}

void Admission::GiveBlocks(const Offer& offer, Sequence& sequence) {
  // All references first, so that none of them leaves the cache for a new block.
  for (const std::int32_t block : offer.cached) {
    sequence.AddCachedBlock(pool_.Reference(block), block_tokens_);
  }
  const std::int32_t blocks = BlocksOf(sequence);
  while (sequence.num_blocks() < blocks) sequence.AddBlock(*cache_.Allocate());
  if (enable_prefix_caching_) CountPrefixUse(sequence);
}

std::int32_t Admission::BlocksOf(const Sequence& sequence) const {
  return (sequence.committed() + block_tokens_ - 1) / block_tokens_;
}

std::vector<std::int32_t> Admission::CachedBlocks(const Sequence& sequence) const {
  if (!enable_prefix_caching_ && sequence.request().prompt_of == 0) return {};
  const auto computable = static_cast<std::size_t>(sequence.committed() - 1);
  return cache_.Match(sequence.request().cache_salt, std::span(sequence.ids()).first(computable));
}

bool Admission::IsTooLate(const Sequence& sequence, std::size_t cached_blocks,
                          Clock::TimePoint now) const {
  if (!sequence.request().deadline) return false;
  const std::int32_t cached = static_cast<std::int32_t>(cached_blocks) * block_tokens_;
  const auto at_least = pace_.AtLeast(sequence.committed() - cached, now);
  return at_least && now + *at_least > *sequence.request().deadline;
}

void Admission::CountPrefixUse(const Sequence& sequence) {
  ++prefix_use_.queries;
  if (sequence.computed() > 0) ++prefix_use_.hits;
  prefix_use_.query_tokens += static_cast<std::uint64_t>(sequence.committed());
  prefix_use_.hit_tokens += static_cast<std::uint64_t>(sequence.computed());
}

}  // namespace thinkwire::worker::engine
