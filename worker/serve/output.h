#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "worker/engine/engine.h"
#include "worker/engine/token_stream.h"
#include "worker/serve/output_events.h"

namespace thinkwire::worker::serve {

// One output of a request on its way from the engine to its events, and what it has cost. Tells the
// engine when a stop string has ended the text.
// Owns: the outbox that the engine fills. Borrows the engine.
// Threads: Submit, Cancel and AnswerNow any, each at once with all others; the rest one at a time.
class Output {
 public:
  // What came since the last Take, in this order.
  struct News {
    std::optional<std::int32_t> queue_position;
    bool started = false;
    std::int32_t cached_prompt_tokens = 0;     // once started
    step::PerPhase<std::int32_t> tokens = {};  // that count, in `events`
    OutputEvents::Events events;
    bool more = false;  // the next Take has something, and nobody calls on_ready for it
  };

  // `events`: new, or with what an earlier worker has sent replayed; where that was all, the engine
  // gets nothing to do. `on_ready` is TokenStream's: called when Take has something again. It is
  // let go of once the output has ended, so that it may hold what holds the output.
  Output(engine::Engine& engine, std::unique_ptr<OutputEvents> events,
         std::function<void()> on_ready);

  // Hands the requests of `outputs`, in their order, to the engine, once, all or none; those of
  // outputs that are over are left out. False if the engine refuses them, or gets none: the next
  // Take of each then sees the end, and nobody calls on_ready.
  // REQUIRES: one engine's; as many requests, of one prompt.
  static bool Submit(std::span<const std::unique_ptr<Output>> outputs,
                     std::vector<engine::Request> requests);

  // Nobody wants the output any more: the engine ends it soon.
  void Cancel();

  // The reasoning ends soon, and the answer begins. Whether it had not ended, nor been told to.
  bool AnswerNow();

  // Turns what the engine has given since into events, up to a quarter of an outbox; nothing if it
  // gave nothing.
  std::optional<News> Take(Clock::TimePoint now);

  // Why nothing comes, where the request asks for that and it is known.
  std::optional<engine::Silence> silence() const;

  bool was_over() const { return was_over_; }        // before this worker had it
  bool ended() const { return tokens_ == nullptr; }  // nothing comes any more
  // It ends or has ended as its reader was too slow, whatever Take still has.
  bool too_slow() const;
  // Once ended, one of the two: why the engine refused it, or how it ended.
  const std::optional<absl::Status>& refused() const { return refused_; }
  const engine::Ending& ending() const { return ending_; }

  bool finished() const { return events_->finished(); }  // by itself: its events end with Finished
  const OutputEvents::Counts& counts() const { return events_->counts(); }
  const OutputEvents::Times& times() const { return events_->times(); }
  std::int32_t discarded_tokens() const;  // drawn beyond its end; once ended

 private:
  void OnSubmitted(const absl::StatusOr<engine::RequestHandle>& handle);
  std::optional<absl::Status> Refusal();
  News TakeWhatWasUnsent();
  std::optional<engine::RequestHandle> Handle();
  void NoteAnswer();
  void FinishInEngine();

  engine::Engine& engine_;
  const bool was_over_;

  // Take's alone.
  std::shared_ptr<engine::TokenStream> tokens_;  // until the output has ended
  const std::unique_ptr<OutputEvents> events_;
  bool finish_told_ = false;  // to the engine
  std::optional<absl::Status> refused_;
  engine::Ending ending_;

  Mutex mu_;
  std::optional<engine::RequestHandle> handle_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> refusal_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  bool answers_ ABSL_GUARDED_BY(mu_);              // or was told to
  bool answers_now_ ABSL_GUARDED_BY(mu_) = false;  // was told to
};

}  // namespace thinkwire::worker::serve
