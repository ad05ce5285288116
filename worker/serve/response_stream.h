#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/shares.h"
#include "thinkwire/v1/worker.pb.h"
#include "worker/engine/engine.h"
#include "worker/serve/heartbeats.h"
#include "worker/serve/output.h"
#include "worker/serve/output_events.h"
#include "worker/serve/request_reader.h"
#include "worker/serve/text_pool.h"
#include "worker/serve/worker_metrics.h"

namespace thinkwire::worker::serve {

// Where a stream's messages go: rpc::ServerCall, or a test. Threads: any.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;

  // False, and nothing is kept, if it is full. When it has room again, or has ended, someone calls
  // ResponseStream::Resume or Cancel.
  virtual bool Write(const v1::WorkerGenerateResponse& message) = 0;

  // After what was written; an error may overtake it.
  virtual void Finish(const absl::Status& status) = 0;
};

// One request's way out: has its outputs' tokens turned into events on the text pool, and writes
// them as far as the reader keeps up: Queued until it starts, Started once, each output's events,
// which end with its Finished, and Completed last. The outputs take turns, each with a part of its
// outbox. While the sink is full no tokens are taken, so that the engine pauses the sequences, and
// the output whose turn it was is next then. A reader whom the engine gives up as too slow is told
// so at once, and gets nothing of what the sink had no room for. Where the sign interval brings
// nothing, it says that it is alive: Queued again or, once started, a message without an event; and
// why it is silent each kProgressInterval, where the request asks for Progress. Lives until the
// engine has given every ending, whatever the client does. Threads: public functions from any
// thread.
class ResponseStream final : public TextPool::Serial, public Heartbeats::Stream {
 public:
  // What all streams of a worker share; outlives them.
  struct Shared {
    TextPool& pool;
    engine::Engine& engine;
    const text::Tokenizer& tokenizer;
    const ServedModel& model;
    WorkerMetrics& metrics;
    rpc::Shares& places;  // of requests that the engine has
    const Clock& clock;
    Clock::Duration sign_interval = kSignInterval;
  };
  // Who asks.
  struct Call {
    std::string request_id;
    std::int32_t attempt = 1;
    std::string traceparent;  // for the log; may be empty
    Clock::TimePoint arrival;
    std::string peer{};  // as Shares counts who asks; empty: whom no share limits
  };

  // Counts and logs a request that ended with `status` before the engine had it.
  static void Refuse(const Shared& shared, const Call& call, const absl::Status& status);

  // Nothing happens before Begin. `place` is given back when the engine has no more to do with the
  // request, whoever is still to read the end.
  static std::shared_ptr<ResponseStream> Make(const Shared& shared, Call call,
                                              RequestReader::Reading reading,
                                              std::shared_ptr<ResponseSink> sink,
                                              rpc::Shares::Held place = {});
  // Hands the request to the engine, once. If that fails, the stream ends with the error. The
  // client may hear of it before this returns.
  void Begin();
  ~ResponseStream() override;

  // The sink has room again.
  void Resume() { Schedule(); }

  void Beat() override;

  // The reasoning of output `index`, or of all, ends soon. How many had not, nor been told to.
  // REQUIRES: Start has returned.
  std::int32_t AnswerNow(std::optional<std::int32_t> index);

  // Nobody reads any more: ends the request. Idempotent.
  void Cancel();

 private:
  ResponseStream(const Shared& shared, Call call, const RequestReader::Reading& reading,
                 std::shared_ptr<ResponseSink> sink);
  void Run() override;
  bool Send();
  bool WritePending();
  // What an output has to say, if it may speak now. Whether there is more at once.
  bool TakeFrom(Output& output, Clock::TimePoint now);
  // Nothing may be told of it before the stream has started, which the first output's start is.
  bool WaitsForStart(const Output& output) const;
  bool IsDone(const Output& output) const;
  void Handle(const Output& output, Output::News news, Clock::TimePoint now);
  // An output ended, but not by itself: the others go with it.
  void Fail(const Output& failed);
  // Every output has ended.
  void Conclude(Clock::TimePoint now);
  void Complete(Clock::TimePoint now);
  void GiveUp(engine::EndReason reason, Clock::TimePoint now);
  void BeRefused(const absl::Status& status);
  void End(Outcome outcome, Clock::TimePoint now);
  void Emit(v1::GenerateResponse event);
  void Count(const v1::GenerateResponse& event);
  v1::WorkerGenerateResponse& AddMessage();
  bool IsSilent(Clock::Duration interval);
  // Says, if it has been silent, why, where that is asked for; else no more than that it is alive.
  void BreakSilence();
  bool EmitProgress();
  void EmitSign();
  void EmitQueued(std::int32_t position);
  v1::GenerateResponse MakeStarted() const;
  v1::GenerateResponse MakeCompleted(Clock::TimePoint now) const;
  OutputEvents::Counts counts_of_all() const;
  std::int32_t discarded_tokens() const;
  std::int32_t preemptions() const;
  bool cancelled();
  bool too_slow() const;

  // Constant after construction.
  const Shared shared_;
  const Call call_;
  const std::optional<Clock::TimePoint> deadline_;
  const v1::Started started_;  // without what is known at the start only
  const std::int32_t num_prompt_ids_;
  const std::int32_t num_resumed_ids_;  // that earlier workers had sent
  const bool tells_progress_;

  // Set by Start, then Run's alone.
  std::vector<std::int32_t> prompt_ids_;  // until the first event tells them
  rpc::Shares::Held place_;               // until Conclude
  std::shared_ptr<ResponseSink> sink_;    // until the end
  // At least one, in the order of their indices. Each holds this until it has ended.
  std::vector<std::unique_ptr<Output>> outputs_;
  std::vector<engine::Request> requests_;           // the outputs', until Begin
  const Output* first_ = nullptr;                   // of those that run; else the first of all
  std::size_t next_ = 0;                            // whose turn it is
  const Output* failed_ = nullptr;                  // the first that did not end by itself
  std::deque<v1::WorkerGenerateResponse> pending_;  // of one turn
  std::optional<absl::Status> final_status_;
  StreamMeter meter_;
  std::int64_t next_seq_ = 0;
  std::optional<std::int32_t> queue_position_;  // that was told last

  Mutex mu_;
  Clock::TimePoint spoke_at_ ABSL_GUARDED_BY(mu_);  // last; at first, its arrival
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace thinkwire::worker::serve
