#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/peer_limits.h"
#include "common/rpc/call_count.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/request_bytes.h"
#include "common/rpc/shares.h"
#include "common/rpc/trusted_peers.h"
#include "router/admission/dispatch_queue.h"
#include "router/admission/tenant_books.h"
#include "router/answering.h"
#include "router/callers.h"
#include "router/catalog.h"
#include "router/count_turns.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "router/generation.h"
#include "router/generation_registry.h"
#include "router/intake.h"
#include "router/move_schedule.h"
#include "router/retry_budget.h"
#include "router/router_metrics.h"
#include "router/voting.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::router {

// thinkwire.v1.ReasoningService. Of the bytes in hand (rpc::RequestBytes) a client gets no more
// than his share, and workers are told whose each call is, for theirs. A client is a tenant
// (Callers), whatever the address, or where there are no tenants whom rpc::CallPeer names. Threads:
// any; nothing blocks.
class ReasoningService final : public rpc::RawService, public Intake {
 public:
  // All outlive the server that the service is registered with.
  struct Shared {
    const CurrentCatalog& catalog;  // a request keeps the one that it finds as it arrives
    fleet::WorkerPool& pool;
    RouterMetrics& metrics;
    const Clock& clock;
    Clock::Duration resume_wait = kResumeWait;  // for a worker to go on with a stream
    rpc::TrustedPeers trusted{};                // behind whom all clients are one
    const Callers* callers = nullptr;           // null: everybody may call
    const CacheSalts* cache_salts = nullptr;    // null: clients share cached prompt blocks
    std::int32_t num_routers = 1;               // before the same workers, this one among them
    std::string version{};                      // as GetServerInfo tells it
  };
  explicit ReasoningService(const Shared& shared);
  // REQUIRES: the server is shut down. Waits for calls to workers that are still ending.
  ~ReasoningService() override;

  // Whether who calls may; else UNAUTHENTICATED, counted.
  absl::Status Admit(const grpc::CallbackServerContext& context) const override;

  // From now on Generate is refused with UNAVAILABLE, as what waits for a place is.
  void StartDraining();

  // Waits until every request has its end, and its call to a worker too, at most `timeout` by the
  // machine's clock; not until the client has read that. False if some have not.
  bool WaitUntilIdle(Clock::Duration timeout) { return running_.WaitUntilNone(timeout); }

  // Intake.
  rpc::CallCount::Token BeginCount() override { return running_.Begin(); }
  absl::StatusOr<std::string> TenantOf(
      std::string_view key, std::span<const std::string> certificate_names) const override;
  std::string PeerOf(const std::string& tenant, std::string_view grpc_peer) const override;
  absl::StatusOr<rpc::RequestBytes::Held> AdmitBytes(const std::string& peer,
                                                     std::size_t bytes) override;
  std::shared_ptr<Generation> MakeGeneration(const fleet::CallContext& context,
                                             std::shared_ptr<EventSink> sink) override;
  void EndGeneration() override { shared_.metrics.EndCall(); }
  absl::Status Begin(rpc::RequestBytes::Held held, v1::GenerateRequest request,
                     Generation& generation) override;
  void AnswerNow(const fleet::CallContext& context, const v1::AnswerNowRequest& request,
                 fleet::AnswerNowDone on_done) override;
  std::vector<v1::Variant> ListVariants() const override;

 private:
  class GenerateCall;
  class CountCall;
  class AnswerNowCall;

  // Lets go of `bytes`. Fails: what the client is told; the generation has not begun then.
  absl::Status Begin(const std::string& peer, grpc::ByteBuffer& bytes, Generation& generation);
  fleet::CallContext MakeContext(grpc::CallbackServerContext& context) const;
  absl::StatusOr<grpc::ByteBuffer> List(const grpc::ByteBuffer& bytes) const;
  absl::StatusOr<grpc::ByteBuffer> TellAboutServer(const grpc::ByteBuffer& bytes) const;
  v1::Variant Describe(std::size_t variant, const VariantConfig& config) const;

  const Shared shared_;
  rpc::RequestBytes request_bytes_;
  rpc::Shares held_bytes_{static_cast<std::int64_t>(kMaxAllHeldBytes)};
  rpc::Shares answer_now_calls_{kMaxAnswerNowCalls};
  RetryBudget retries_;
  CountTurns count_turns_;
  MoveSchedule moves_;
  admission::TenantBooks books_;
  admission::DispatchQueue queue_;
  GenerationRegistry registry_;
  rpc::CallCount running_;  // requests without an end
  std::atomic<bool> draining_ = false;
};

}  // namespace thinkwire::router
