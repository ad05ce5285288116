#include "worker/serve/prompt_queue.h"

#include <algorithm>
#include <utility>

namespace thinkwire::worker::serve {

void PromptQueue::Add(const std::string& peer, std::size_t bytes, Length length,
                      Clock::TimePoint now, Job job) {
  const Clock::TimePoint due = now + static_cast<Clock::Duration::rep>(bytes) * kDelayPerByte;
  Peer& waiting = peers_.try_emplace(peer, Peer{.start = virtual_time_}).first->second;
  Line& line = length == Length::kLong ? waiting.long_prompts : waiting.short_prompts;
  line.emplace(due,
               Prompt{static_cast<std::int64_t>(bytes) + kBytesPerPrompt, length, std::move(job)});
}

std::optional<PromptQueue::Taken> PromptQueue::Take(bool long_too) {
  auto next = peers_.end();
  Line* line = nullptr;
  std::int64_t least = 0;  // F
  for (auto peer = peers_.begin(); peer != peers_.end(); ++peer) {
    Line* const candidate = NextLine(peer->second, long_too);
    if (candidate == nullptr) continue;
    const std::int64_t finish = peer->second.start + candidate->begin()->second.cost;
    if (line != nullptr && finish >= least) continue;
    next = peer;
    line = candidate;
    least = finish;
  }
  if (line == nullptr) return std::nullopt;
  Prompt prompt = std::move(line->begin()->second);
  line->erase(line->begin());
  next->second.start = least;
  virtual_time_ = std::max(virtual_time_, least);
  if (next->second.empty()) peers_.erase(next);
  return Taken{std::move(prompt.job), prompt.length};
}

PromptQueue::Line* PromptQueue::NextLine(Peer& peer, bool long_too) {
  Line* const short_line = peer.short_prompts.empty() ? nullptr : &peer.short_prompts;
  if (!long_too || peer.long_prompts.empty()) return short_line;
  if (short_line == nullptr) return &peer.long_prompts;
  const bool long_first = peer.long_prompts.begin()->first < short_line->begin()->first;
  return long_first ? &peer.long_prompts : short_line;
}

}  // namespace thinkwire::worker::serve
