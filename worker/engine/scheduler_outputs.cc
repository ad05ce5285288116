// Scheduler: what sequences share. How one comes and goes, and whose blocks others may begin with.
#include <algorithm>
#include <ranges>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {

void Scheduler::Add(RequestHandle handle, Request request, std::int32_t max_tokens,
                    std::shared_ptr<TokenStream> stream) {
  const std::optional<Clock::TimePoint> deadline = request.deadline;
  // Then nobody uses the cache but outputs of one prompt, and none may find another's.
  if (!config_.enable_prefix_caching) request.cache_salt = std::to_string(request.prompt_of);
  Peer& peer = PeerOf(request.peer);
  ++peer.sequences;
  auto sequence = std::make_unique<Sequence>(handle, std::move(request), max_tokens,
                                             std::move(stream), last_step_, &peer);
  HaveMaskFound(*sequence);
  if (!shared_prompts_.Enter(*sequence)) GetInLine(*sequence);
  if (deadline) deadlines_.emplace(*deadline, handle);
  const bool added = sequences_.emplace(handle, std::move(sequence)).second;
  CHECK(added, "handles are never reused");
}

void Scheduler::Destroy(const Sequence& sequence) {
  if (shared_prompts_.Leave(sequence) && !config_.enable_prefix_caching) ForgetPrompt(sequence);
  Peer& peer = sequence.peer();
  const std::string name = sequence.request().peer;
  sequences_.erase(sequence.handle());
  if (--peer.sequences == 0) LetGo(name);
}

void Scheduler::ForgetPrompt(const Sequence& sequence) {
  const Request& request = sequence.request();
  const std::vector<std::int32_t> blocks = cache_.Match(request.cache_salt, request.prompt_ids);
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) cache_.Forget(*block);
}

void Scheduler::PassPromptOn(const Sequence& sequence) {
  if (Sequence* const next = shared_prompts_.PassOn(sequence)) GetInLine(*next);
}

std::int32_t Scheduler::BlocksToCache(const Sequence& sequence) const {
  if (sequence.not_finite()) return 0;
  // Ids that are being drawn are not known yet, and those that were taken back count as not
  // computed: a full block holds the committed ids and no others.
  const std::int32_t full =
      std::min(sequence.computed(), sequence.committed()) / limits_.block_tokens;
  return config_.enable_prefix_caching ? full : std::min(full, shared_prompts_.BlocksOf(sequence));
}

void Scheduler::CacheBlocks(Sequence& sequence) {
  const auto tokens = static_cast<std::size_t>(limits_.block_tokens);
  const std::int32_t end = BlocksToCache(sequence);
  while (sequence.blocks_cached() < end) {
    const std::int32_t index = sequence.blocks_cached();
    const auto ids =
        std::span(sequence.ids()).subspan(static_cast<std::size_t>(index) * tokens, tokens);
    const std::int32_t own = sequence.block(index);
    const Request& request = sequence.request();
    const std::int32_t cached = cache_.Insert(
        request.cache_salt, index > 0 ? sequence.block(index - 1) : -1, ids, own, request.peer);
    if (cached == own) {
      sequence.MarkCached();
    } else {
      GiveUp(sequence.ExchangeForCached(pool_.Reference(cached)));
    }
  }
  for (Sequence* const other : shared_prompts_.TakeReady(sequence)) GetInLine(*other);
}

void Scheduler::ReleaseBlocks(Sequence& sequence) {
  // Backwards, so that the prefix cache loses what follows a block before the block.
  while (const std::optional<BlockHandle> block = sequence.TakeLastBlock()) {
    // What led to a NaN is computed anew next time, lest a fault of the moment stays for good. Who
    // else holds it goes on, and meets the NaN too if it lies here.
    const bool last_holder = pool_.references(block->block()) == 1;
    if (sequence.not_finite() && last_holder) cache_.Forget(block->block());
  }
}

}  // namespace thinkwire::worker::engine
