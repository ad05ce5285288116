#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/rpc/call_count.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/request_bytes.h"
#include "common/rpc/shares.h"
#include "common/rpc/trusted_peers.h"
#include "thinkwire/v1/worker.grpc.pb.h"
#include "worker/serve/heartbeats.h"
#include "worker/serve/request_reader.h"
#include "worker/serve/response_stream.h"
#include "worker/serve/running_streams.h"
#include "worker/serve/status_board.h"

namespace thinkwire::worker::serve {

// thinkwire.v1.WorkerService.
//
// Of what a worker has, a peer (rpc::CallPeer: the router's client) gets no more than his share
// (rpc::Shares): bytes in hand (rpc::RequestBytes), places among the prompts that wait to be read
// and their turns (TextPool), places of requests that run or wait in the engine, and the engine's
// slots and KV blocks (engine::FairShare).
// Threads: any. Nothing long runs on gRPC's threads: prompts are read on the text pool.
class WorkerService final : public rpc::RawService {
 public:
  // Who calls.
  struct Peers {
    rpc::TrustedPeers trusted{};     // whom no share limits
    rpc::TrustedPeers forwarders{};  // who say whose a call is: rpc::Forwarders
    // Nobody else may call: PERMISSION_DENIED, reason PEER_NOT_TRUSTED.
    bool forwarders_only = false;
  };

  // All but `peers` must outlive the server that the service is registered with.
  WorkerService(const ResponseStream::Shared& shared, const RequestReader& reader,
                StatusBoard& board, Peers peers);
  ~WorkerService() override;

  // From now on Generate is refused with UNAVAILABLE and the status says draining.
  void StartDraining();

  // Waits until every request has its end, and none has a job on the text pool, at most `timeout`
  // by the machine's clock; not until its client has read that. False if some have not.
  bool WaitUntilIdle(Clock::Duration timeout);

 private:
  class GenerateCall;
  class CountCall;
  class WatchCall;

  absl::Status Admit(const grpc::CallbackServerContext& context) const override;
  std::string PeerOf(const grpc::CallbackServerContext& context) const;
  absl::Status TextPoolIsFull() const;
  // For a request, so many of whose outputs the engine is to have. Fails: RESOURCE_EXHAUSTED;
  // INVALID_ARGUMENT, there can never be so many.
  absl::StatusOr<rpc::Shares::Held> TakePlaces(const std::string& peer, std::int32_t outputs) const;

  const ResponseStream::Shared shared_;
  const RequestReader& reader_;
  StatusBoard& board_;
  const Peers peers_;
  rpc::RequestBytes request_bytes_;
  std::atomic<bool> draining_ = false;
  rpc::CallCount running_;  // requests without an end
  RunningStreams streams_;
  Heartbeats heartbeats_;
};

}  // namespace thinkwire::worker::serve
