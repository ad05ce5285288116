#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/connection_table.h"
#include "common/rpc/peer_places.h"
#include "common/rpc/refused_calls.h"
#include "common/rpc/reset_counts.h"
#include "common/rpc/server_call.h"
#include "common/rpc/shares.h"
#include "common/rpc/trusted_peers.h"

namespace grpc {
class CallbackServerContext;
}  // namespace grpc
namespace prometheus {
class Counter;
class Gauge;
}  // namespace prometheus

namespace thinkwire {
class Metrics;
}  // namespace thinkwire

namespace thinkwire::rpc {

// Every call of a server from its headers to its very end: how many there may be, of whom, and for
// how long one may wait for its client. Ends those that wait too long; has connections closed that
// reset calls by the hundred (ResetCounts), or have most of too many refusals that nobody reads
// (RefusedCalls); gives memory back to the system that ended calls have
// left: soon after many calls or large ones, and after a minute if there was any.
//
// One thread looks at all calls some times a second, by the machine's steady clock: gRPC's own
// timers stand still after the wall clock was set back.
//
// Owns: the calls, a thread. Threads: any.
class OpenCalls {
 public:
  // Makes the call whose headers `context` shows, and may answer them with metadata.
  using Make = std::function<std::shared_ptr<ServerCall>(grpc::CallbackServerContext& context)>;

  struct Options {
    ServerCall::Limits limits{};
    std::int64_t max_calls = kMaxCalls;                  // over all connections; about 20 KB each
    std::size_t max_refused_calls = kMaxRefusedCalls;    // that nobody has read yet
    TrustedPeers trusted_peers{};                        // who have as many of their own
    std::size_t max_metadata_bytes = kMaxMetadataBytes;  // of one call
    int max_of_connection = kMaxStreamsOfConnection;     // if `connections` are known
    TrustedPeers forwarders{};                           // whose connections may have more
    // Is told which connections are busy, and closes some. Outlives this. nullptr: nobody is.
    ConnectionTable* connections = nullptr;
    Metrics* metrics = nullptr;  // where calls are counted; nullptr: nowhere
  };

  explicit OpenCalls(Options options);
  ~OpenCalls();  // REQUIRES: no call is left
  OpenCalls(const OpenCalls&) = delete;
  OpenCalls& operator=(const OpenCalls&) = delete;

  const ServerCall::Limits& limits() const { return options_.limits; }

  // The reactor of a call that has just begun: one that `make` makes, unless there are too many.
  ServerCall* Launch(grpc::CallbackServerContext& context, const Make& make);
  // The reactor of a call that ends with `status`, a name beside it, by which it is logged.
  ServerCall* Refuse(grpc::CallbackServerContext& context, absl::Status status);

  // From now on new calls are refused. Running ones have `grace` to end, then they are told to with
  // UNAVAILABLE, reason DRAINING, and whoever does not take that within limits().goodbye is cut
  // off.
  void ShutDown(Clock::Duration grace);

  // Blocks until no call is left.
  void WaitUntilNone();

  std::size_t size() const;

 private:
  friend class ServerCall;

  // By whom shares count a call from `peer`.
  std::string ShareKey(const std::string& peer) const;
  // So many more bytes that wait for a reader. Nullopt, unless they `must` be: there is no room.
  std::optional<Shares::Held> TakeQueued(const std::string& key, std::size_t bytes, bool must);

  // Has `call` counted and kept.
  ServerCall* Enter(grpc::CallbackServerContext& context, std::shared_ptr<ServerCall> call,
                    Shares::Held place);
  // `call` is over, and destroyed unless somebody else holds it.
  void End(ServerCall& call);

  bool ResetsTooMuch(const ServerCall& call);
  // Whether calls of many come on its connections.
  bool SpeaksForMany(const std::string& peer) const;
  // `why` is a literal, for the log.
  void Close(const std::string& peer, std::string_view why);
  // The reactor's, which counts among the refused ones unless its connection is one of many.
  std::shared_ptr<ServerCall> MakeRefused(const std::string& peer);
  void CountOpen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool shutting_down() const;
  // Why a call of `peer` is refused.
  absl::Status Admit(const std::string& peer) const;
  absl::Status CheckMetadata(const grpc::CallbackServerContext& context) const;
  absl::Status TooMany() const;

  // The thread's.
  void Run();
  bool WaitForLook(Clock::Duration wait);
  void LookAtAll(Clock::TimePoint now);
  void TrimIfDue(Clock::TimePoint now);
  bool TrimIsDue(Clock::TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const Options options_;
  const Clock::Duration look_every_;
  prometheus::Gauge* open_ = nullptr;
  prometheus::Counter* refused_ = nullptr;
  prometheus::Counter* cut_ = nullptr;
  prometheus::Counter* closed_ = nullptr;

  RefusedCalls refused_calls_;
  PeerPlaces places_;
  Shares queued_bytes_;

  mutable Mutex mu_;
  CondVar wake_;  // the thread's
  CondVar none_;
  std::unordered_map<const ServerCall*, std::shared_ptr<ServerCall>> calls_ ABSL_GUARDED_BY(mu_);
  ResetCounts resets_ ABSL_GUARDED_BY(mu_);
  std::int64_t ended_since_trim_ ABSL_GUARDED_BY(mu_) = 0;        // calls
  std::size_t bytes_since_trim_ ABSL_GUARDED_BY(mu_) = 0;         // of their messages
  std::optional<Clock::TimePoint> ends_at_ ABSL_GUARDED_BY(mu_);  // once it shuts down
  bool look_at_once_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  Clock::TimePoint trimmed_at_;  // the thread's
  std::thread thread_;
};

}  // namespace thinkwire::rpc
