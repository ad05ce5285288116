#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/peer_limits.h"
#include "worker/engine/prefix_use.h"
#include "worker/engine/request.h"
#include "worker/engine/token_stream.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::engine {

struct EngineConfig {
  // Requests that wait although every slot is taken, >= 1; and as many more, at most, that are
  // parked until their readers come back.
  std::int32_t max_queue = kMaxQueue;
  std::vector<std::int32_t> end_of_sequence_ids;
  Clock::Duration slow_reader_timeout = kReaderTimeout;  // ReaderPace's
  bool enable_prefix_caching = true;
};

// A snapshot; each number is true by itself.
struct EngineStatus {
  std::int32_t queued = 0;
  std::int32_t running = 0;
  std::int32_t paused = 0;         // of running: wait for their readers, and nobody for their place
  std::int32_t parked = 0;         // hold neither slot nor blocks until their readers come back
  std::int32_t free_blocks = 0;    // referenced by no sequence
  std::int32_t cached_blocks = 0;  // of them, in the prefix cache
  std::int32_t total_blocks = 0;
  std::uint64_t steps = 0;              // collected since start
  std::uint64_t preemptions = 0;        // since start
  std::uint64_t recomputed_tokens = 0;  // likewise: inputs whose KV was lost by leaving a slot
  std::uint64_t masked_draws = 0;       // likewise: tokens drawn by the mask of an answer's format
  std::uint64_t rows_without_mask = 0;  // likewise: sat a step out, as theirs was being found
  PrefixUse prefix_use;
};

// Whether the engine lives, for whoever watches it. Read without the engine's lock, each number by
// itself.
struct EnginePulse {
  enum Doing : std::uint8_t {
    kWaiting,     // for its inbox: there is nothing that it could do
    kCollecting,  // waiting for the oldest step
    kTurning,     // all else
  };
  Doing doing = kWaiting;
  std::uint64_t turns = 0;      // of the engine's loop, begun
  std::uint64_t collected = 0;  // steps taken back from the runner
  std::vector<step::RankBeat> ranks;

  bool operator==(const EnginePulse&) const = default;
};

// Continuous batching over one Runner.
// Owns: the engine thread, every sequence, the KV blocks' bookkeeping.
// Threads: all public functions from any thread; none waits for the model.
class Engine {
 public:
  // `runner` and `clock` must outlive the engine, which starts its thread at once.
  Engine(const EngineConfig& config, step::Runner& runner, const Clock& clock);
  ~Engine();  // Stop()
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues `request`, whose tokens and ending go to `stream`.
  // Fails: INVALID_ARGUMENT what is out of range, or can never fit (with the limit);
  // RESOURCE_EXHAUSTED the queue is full; UNAVAILABLE after Stop. After a failure nothing is ever
  // written to `stream`; after success it always gets exactly one ending.
  absl::StatusOr<RequestHandle> Submit(Request request, std::shared_ptr<TokenStream> stream);

  struct Arrival {
    Request request;
    std::shared_ptr<TokenStream> stream;
  };
  // The same for several outputs of one prompt, all or none: each counts as a request, but their
  // prompt is computed once (SharedPrompts). Their handles ascend in the order of `arrivals`.
  // REQUIRES: one at least; their prompt_ids and cache_salt are equal.
  absl::StatusOr<std::vector<RequestHandle>> SubmitTogether(std::vector<Arrival> arrivals);

  // Ends the request soon with kFinishedByReader, unless it ended before: the reader has found the
  // end of its text, as a stop string does. Unknown handles are ignored.
  void Finish(RequestHandle handle);

  // Likewise with kCancelled: nobody wants the text any more.
  void Cancel(RequestHandle handle);

  // The reasoning of the request's output ends within two steps, or when it first runs, and it
  // answers (Scheduler::AnswerNow). Unknown handles are ignored.
  void AnswerNow(RequestHandle handle);

  // A reader made room in its stream (TokenStream::Batch::makes_room): look at paused and parked
  // sequences again.
  void Wake();

  EngineStatus status() const;

  // Waits for nothing, also while the engine thread is stuck.
  EnginePulse pulse() const;

  // Ends all requests with kShutdown and joins the thread. Idempotent. Not from a stream's
  // on_ready, which may call anything else.
  void Stop();

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace thinkwire::worker::engine
