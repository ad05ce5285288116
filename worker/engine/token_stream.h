#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "common/mutex.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"

namespace thinkwire::worker::engine {

// Why no token of an output can come now, where that is known.
enum class SilenceReason : std::uint8_t {
  kPrefill,    // its prompt is being computed
  kRecompute,  // what it has lost is being computed again
  kWaiting,    // it has lost its slot to others, and waits for one
};
struct Silence {
  SilenceReason reason = SilenceReason::kPrefill;
  std::int32_t computed = 0;  // ids that the runner has had
  std::int32_t total = 0;     // of so many
  bool operator==(const Silence&) const = default;
};

// The bounded outbox between the engine and one output's reader.
// Threads: the engine thread pushes, one reader at a time takes; both may do so at once.
class TokenStream {
 public:
  // What happened since the last Take, oldest first.
  struct Batch {
    std::optional<std::int32_t> queue_position;  // latest; 0 = next to be admitted
    bool started = false;                        // first taken after the sequence was admitted
    std::int32_t cached_prompt_tokens = 0;       // once started
    std::vector<Token> tokens;
    std::optional<Ending> ending;  // nothing follows it
    bool more = false;             // there was more than was asked for
    // Half of the stream is free again, and was not before: a sequence may wait for that.
    bool makes_room = false;
    bool empty() const { return !queue_position && !started && tokens.empty() && !ending; }
  };

  // At most `capacity` >= 1 tokens wait for the reader. `on_ready` is called, on the engine thread
  // and without a lock held, when the stream turns from empty to not empty, and when its ending
  // comes; it must not block. Who left something there (Batch::more) is not called for it.
  TokenStream(std::size_t capacity, std::function<void()> on_ready);

  // What the reader has made of the stream so far, in tokens.
  struct Reading {
    std::uint64_t taken = 0;  // in all
    std::size_t waiting = 0;  // for it; more than `capacity` where tokens were forced
    std::size_t capacity = 0;

    bool full() const { return waiting >= capacity; }
    bool half_free() const { return waiting * 2 <= capacity; }
  };

  // Reader: takes all there is, but for tokens beyond the first `max_tokens` >= 1 and what follows
  // those; empty if nothing is.
  Batch Take(std::size_t max_tokens = std::numeric_limits<std::size_t>::max());

  // Reader: whether the stream ends as it was not read fast enough, whatever is still to be taken
  // before that.
  bool ends_as_too_slow() const;

  // Reader: why nothing comes. No news by itself: on_ready is not called for it.
  std::optional<Silence> silence() const;

  // Engine: how many more tokens fit. Only grows between two pushes.
  std::size_t room() const;
  Reading reading() const;

  // Engine: REQUIRES room() >= 1, unless the token was forced, and no ending yet. Forced tokens are
  // few, and nothing is drawn after them before there is room again. Returns whether the stream is
  // full now.
  bool Push(const Token& token);
  void SetQueuePosition(std::int32_t position);
  void SetStarted(std::int32_t cached_prompt_tokens);
  void SetEnding(const Ending& ending);
  void SetSilence(const std::optional<Silence>& silence);

 private:
  // Runs `change` under the lock and calls on_ready_ if that is to be called.
  template <class Change>
  void Update(Change change);
  Reading ReadingNow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::size_t capacity_;
  const std::function<void()> on_ready_;
  mutable Mutex mu_;
  Batch pending_ ABSL_GUARDED_BY(mu_);
  std::optional<Silence> silence_ ABSL_GUARDED_BY(mu_);
  std::uint64_t taken_ ABSL_GUARDED_BY(mu_) = 0;  // tokens
};

}  // namespace thinkwire::worker::engine
