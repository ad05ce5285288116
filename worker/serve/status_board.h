#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/peer_places.h"
#include "common/rpc/shares.h"
#include "common/rpc/trusted_peers.h"
#include "thinkwire/v1/worker.pb.h"
#include "worker/engine/engine.h"
#include "worker/serve/request_reader.h"
#include "worker/serve/worker_metrics.h"

namespace thinkwire::worker::serve {

// Looks at the engine many times a second, keeps the gauges true and tells the watchers: at once,
// when something changes but no sooner than their interval, and at least every second.
// Owns: one thread. Threads: all public functions from any thread.
class StatusBoard {
 public:
  static constexpr Clock::Duration kHeartbeat = std::chrono::seconds(1);

  // One WatchStatus call.
  class Watcher {
   public:
    virtual ~Watcher() = default;
    // On the board's thread; must not block. False: not now, ask again at the next look.
    virtual bool Tell(const v1::WatchStatusResponse& status) = 0;
    // The worker goes.
    virtual void End() = 0;

   private:
    friend class StatusBoard;
    Clock::Duration min_interval_{};
    Clock::TimePoint told_at_;
    v1::WatchStatusResponse told_;
    bool told_once_ = false;
  };

  // All must outlive the board.
  StatusBoard(const engine::Engine& engine, const ServedModel& model, WorkerMetrics& metrics,
              const rpc::TrustedPeers& trusted_peers, const Clock& clock);
  ~StatusBoard();  // Stop()
  StatusBoard(const StatusBoard&) = delete;
  StatusBoard& operator=(const StatusBoard&) = delete;

  // `peer` is gRPC's name of who watches.
  // Fails, and keeps nothing: RESOURCE_EXHAUSTED too many watch, or too many of that peer;
  // UNAVAILABLE after Stop.
  absl::Status Add(std::shared_ptr<Watcher> watcher, Clock::Duration min_interval,
                   const std::string& peer);
  void Remove(const std::shared_ptr<Watcher>& watcher);

  void SetDraining();

  // Ends all watches, sets the gauges a last time and joins the thread. Idempotent.
  void Stop();

 private:
  void Run();
  void Look();
  v1::WatchStatusResponse Describe(const engine::EngineStatus& status, Clock::TimePoint now);
  void DescribeRanks(std::uint64_t steps, Clock::TimePoint now, v1::WatchStatusResponse* out);
  void TellIfDue(Watcher& watcher, const v1::WatchStatusResponse& status, Clock::TimePoint now);

  // Constant after construction.
  const engine::Engine& engine_;
  const ServedModel& model_;
  WorkerMetrics& metrics_;
  const Clock& clock_;

  // Board thread only.
  struct Progress {
    step::RankBeat beat;
    Clock::TimePoint at;
  };
  std::uint64_t last_steps_ = 0;
  std::vector<Progress> progress_;  // by rank

  rpc::PeerPlaces places_;

  Mutex mu_;
  CondVar changed_;
  std::map<std::shared_ptr<Watcher>, rpc::Shares::Held> watchers_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::worker::serve
