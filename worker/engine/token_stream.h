#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "common/mutex.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"

namespace thinkwire::worker::engine {

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
    bool empty() const { return !queue_position && !started && tokens.empty() && !ending; }
  };

  // At most `capacity` >= 1 tokens wait for the reader. `on_ready` is called, on the engine thread
  // and without a lock held, when the stream turns from empty to not empty; it must not block.
  TokenStream(std::size_t capacity, std::function<void()> on_ready);

  // Reader: takes all there is; empty if nothing is.
  Batch Take();

  // Engine: how many more tokens fit. Only grows between two pushes.
  std::size_t room() const;

  // Engine: REQUIRES room() >= 1, unless the token was forced, and no ending yet. Forced tokens are
  // few, and nothing is drawn after them before there is room again.
  void Push(const Token& token);
  void SetQueuePosition(std::int32_t position);
  void SetStarted(std::int32_t cached_prompt_tokens);
  void SetEnding(const Ending& ending);

 private:
  // Runs `change` under the lock and calls on_ready_ if the stream was empty before.
  template <class Change>
  void Update(Change change);

  const std::size_t capacity_;
  const std::function<void()> on_ready_;
  mutable Mutex mu_;
  Batch pending_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::engine
