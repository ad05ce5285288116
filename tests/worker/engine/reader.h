#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "common/mutex.h"
#include "worker/engine/token_stream.h"

namespace thinkwire::worker::engine {

// The far end of a stream: takes what comes and waits for what the test asks for.
// Threads: one reader; the stream's callback from the engine.
class Reader {
 public:
  explicit Reader(std::size_t capacity = 1 << 16);

  const std::shared_ptr<TokenStream>& stream() const { return stream_; }

  // What there is now, but for tokens beyond so many.
  void Take(std::size_t max_tokens = std::numeric_limits<std::size_t>::max());
  // Take until so.
  void WaitTokens(std::size_t count);
  void WaitStarted();
  void WaitEnding();

  const std::vector<Token>& tokens() const { return tokens_; }
  const std::vector<std::int32_t>& queue_positions() const { return queue_positions_; }
  bool started() const { return started_; }
  std::int32_t cached_prompt_tokens() const { return cached_prompt_tokens_; }
  const std::optional<Ending>& ending() const { return ending_; }

 private:
  struct Signal {
    Mutex mu;
    CondVar changed;
    bool ready ABSL_GUARDED_BY(mu) = false;
  };

  void WaitReady();

  // Shared with the callback, which may still return when the reader has all it wants.
  const std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();
  const std::shared_ptr<TokenStream> stream_;
  std::vector<Token> tokens_;
  std::vector<std::int32_t> queue_positions_;
  bool started_ = false;
  std::int32_t cached_prompt_tokens_ = 0;
  std::optional<Ending> ending_;
};

}  // namespace thinkwire::worker::engine
