#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/rpc/channel.h"
#include "common/rpc/request_id.h"
#include "common/trace_context.h"
#include "router/decision/worker_view.h"
#include "router/fleet/silence.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router::fleet {

class WatchedAttempt;
struct WorkerStub;

// What travels with every call to a worker.
struct CallContext {
  std::optional<Clock::TimePoint> deadline{};  // nullopt: none
  std::string traceparent{};                   // as received; empty: none
  std::string tenant{};                        // whose the request is; empty: there are none
  std::string peer{};                          // likewise, of rpc::Shares
  rpc::RequestId id{};                         // by which it is known here; empty: by none
  std::optional<TraceContext> trace{};         // by which workers' spans are its own's; nullopt:
                                               // `traceparent` goes to them as it came
};

// What came of an AnswerNow: how many outputs it ended. Fails: NOT_FOUND (REQUEST_NOT_FOUND), no
// such request runs there; else as ForClient. Called once, on a gRPC thread or at once.
using AnswerNowDone = std::function<void(const absl::StatusOr<std::int32_t>& outputs)>;

// One attempt at a request on a worker. Reads one message at a time, so that a slow reader of ours
// slows the worker down.
// Threads: any.
class WorkerAttempt {
 public:
  // The hooks run on gRPC threads, one at a time.
  class Reader {
   public:
    virtual ~Reader() = default;
    // The next message of the attempt, in order, of which the reader may keep what it likes;
    // without an event it is a sign of life. False pauses until ReadMore.
    virtual bool OnMessage(v1::WorkerGenerateResponse&& message) = 0;
    // The last hook. OK only after Completed; an error carries an ErrorInfo.
    virtual void OnEnd(const absl::Status& status) = 0;
  };

  virtual ~WorkerAttempt() = default;
  // Sends the request, which is not needed any more when Start returns or a hook is called. Once;
  // the hooks begin.
  virtual void Start(const v1::WorkerGenerateRequest& request) = 0;
  // After, or while, OnMessage returns false: go on. Once per such OnMessage.
  virtual void ReadMore() = 0;
  // Ends the attempt soon, even if it has not been started yet; OnEnd still comes.
  virtual void Cancel() = 0;
  // Has its worker end the reasoning of the request, which is found from the first event on.
  // NOT_FOUND where the attempt is over.
  virtual void AnswerNow(const v1::WorkerAnswerNowRequest& request, const CallContext& context,
                         AnswerNowDone on_done) = 0;
};

// A running watch of one worker.
class StatusWatch {
 public:
  virtual ~StatusWatch() = default;
  // Ends it soon. Threads: any.
  virtual void Cancel() = 0;
};

// The router's side of one worker's WorkerService.
// Owns: two channels, one of them for the watch alone. Threads: any.
class WorkerClient {
 public:
  // "host:port". Connects when first used. Deadlines are times of `clock`, which outlives this.
  WorkerClient(std::string address, const Clock& clock, const Patience& patience = {},
               const rpc::ChannelSecurity& security = {});
  // Calls may outlive it, but if its channels are the process's last, not those whose end is still
  // to be told: telling it would be left with them (ChannelTie).
  ~WorkerClient();

  const std::string& address() const { return address_; }

  // An attempt that Start sends. `reader` is kept until OnEnd has returned.
  std::shared_ptr<WorkerAttempt> Generate(const CallContext& context,
                                          std::shared_ptr<WorkerAttempt::Reader> reader) const;

  // `on_done` is called once, on a gRPC thread; `request` is not needed any more when this returns.
  using CountResult = absl::StatusOr<v1::WorkerCountTokensResponse>;
  void CountTokens(const v1::WorkerCountTokensRequest& request, const CallContext& context,
                   std::function<void(CountResult)> on_done) const;

  // Ends the reasoning of a request, whose attempt it need not be. `request` is not needed any more
  // when this returns.
  void AnswerNow(const v1::WorkerAnswerNowRequest& request, const CallContext& context,
                 AnswerNowDone on_done) const;

  // Gives up the attempts whose worker has been silent for too long, and so many of those that
  // stand still as others have `room` for: WORKER_CROWDED. To be called some times a second.
  void EndSilentAttempts(std::int64_t room) const;

  // Gives up all attempts, as their worker `did` what the log is told: WORKER_SILENT.
  void EndAttempts(const std::string& did) const;

  // Streams the worker's status until cancelled or lost: `on_status` for each message, which may be
  // an error of ReadStatus, then `on_end` once, both on gRPC threads. Begins once calls reach the
  // worker.
  using StatusResult = absl::StatusOr<decision::WorkerStatus>;
  std::shared_ptr<StatusWatch> Watch(std::function<void(StatusResult)> on_status,
                                     std::function<void(absl::Status)> on_end) const;

 private:
  std::vector<std::shared_ptr<WatchedAttempt>> attempts() const;

  const std::string address_;
  const Clock& clock_;
  const Patience patience_;
  const std::shared_ptr<WorkerStub> stub_;
};

}  // namespace thinkwire::router::fleet
