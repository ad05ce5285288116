#include "worker/engine/token_stream.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::engine {

TokenStream::TokenStream(std::size_t capacity, std::function<void()> on_ready)
    : capacity_(capacity), on_ready_(std::move(on_ready)) {
  CHECK(capacity_ >= 1, "a stream holds at least one token");
}

template <class Change>
void TokenStream::Update(Change change) {
  bool is_news = false;
  {
    MutexLock lock(mu_);
    CHECK(!pending_.ending, "nothing follows an ending");
    is_news = pending_.empty();
    change(pending_);
    is_news |= pending_.ending.has_value();
  }
  if (is_news && on_ready_) on_ready_();
}

TokenStream::Batch TokenStream::Take(std::size_t max_tokens) {
  MutexLock lock(mu_);
  const bool had_room = ReadingNow().half_free();
  Batch batch = std::exchange(pending_, Batch{});
  batch.more = batch.tokens.size() > max_tokens;
  if (batch.more) {
    const auto rest = batch.tokens.begin() + static_cast<std::ptrdiff_t>(max_tokens);
    pending_.tokens.assign(rest, batch.tokens.end());
    batch.tokens.erase(rest, batch.tokens.end());
    pending_.ending = std::exchange(batch.ending, std::nullopt);
  }
  taken_ += batch.tokens.size();
  batch.makes_room = !had_room && ReadingNow().half_free();
  return batch;
}

TokenStream::Reading TokenStream::ReadingNow() const {
  return {.taken = taken_, .waiting = pending_.tokens.size(), .capacity = capacity_};
}

TokenStream::Reading TokenStream::reading() const {
  MutexLock lock(mu_);
  return ReadingNow();
}

bool TokenStream::ends_as_too_slow() const {
  MutexLock lock(mu_);
  return pending_.ending && pending_.ending->reason == EndReason::kSlowReader;
}

std::size_t TokenStream::room() const {
  MutexLock lock(mu_);
  return capacity_ - std::min(capacity_, pending_.tokens.size());
}

bool TokenStream::Push(const Token& token) {
  bool full = false;
  Update([&](Batch& pending) {
    CHECK(pending.tokens.size() < capacity_ || token.origin != TokenOrigin::kDrawn,
          "the stream has room");
    pending.tokens.push_back(token);
    full = pending.tokens.size() >= capacity_;
  });
  return full;
}

void TokenStream::SetQueuePosition(std::int32_t position) {
  Update([&](Batch& pending) { pending.queue_position = position; });
}

void TokenStream::SetStarted(std::int32_t cached_prompt_tokens) {
  Update([&](Batch& pending) {
    pending.started = true;
    pending.cached_prompt_tokens = cached_prompt_tokens;
  });
}

void TokenStream::SetEnding(const Ending& ending) {
  Update([&](Batch& pending) { pending.ending = ending; });
}

void TokenStream::SetSilence(const std::optional<Silence>& silence) {
  MutexLock lock(mu_);
  silence_ = silence;
}

std::optional<Silence> TokenStream::silence() const {
  MutexLock lock(mu_);
  return silence_;
}

}  // namespace thinkwire::worker::engine
