#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/rpc/large_requests.h"
#include "router/config.h"
#include "router/decision/policy.h"
#include "router/fleet/worker_pool.h"
#include "router/generation.h"
#include "router/generation_registry.h"
#include "router/router_metrics.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::router {

// thinkwire.v1.ReasoningService. Methods are raw: rpc::ParseRequest tells a client what is wrong
// with its bytes, which gRPC's own parsing would not.
// Threads: any; nothing blocks.
class ReasoningService final : public v1::ReasoningService::WithRawCallbackMethod_Generate<
                                   v1::ReasoningService::WithRawCallbackMethod_AnswerNow<
                                       v1::ReasoningService::WithRawCallbackMethod_CountTokens<
                                           v1::ReasoningService::WithRawCallbackMethod_ListVariants<
                                               v1::ReasoningService::Service>>>> {
 public:
  // All outlive the server that the service is registered with.
  struct Shared {
    const RouterConfig& config;
    const decision::Policy& policy;
    fleet::WorkerPool& pool;
    RouterMetrics& metrics;
    const Clock& clock;
  };
  explicit ReasoningService(const Shared& shared);
  // REQUIRES: the server is shut down. Waits for calls to workers that are still ending.
  ~ReasoningService() override;

  // From now on Generate is refused with UNAVAILABLE.
  void StartDraining();

  // Waits until no Generate call is left, nor its call to a worker, at most `timeout` by the
  // machine's clock. False if some are.
  bool WaitUntilIdle(Clock::Duration timeout) { return registry_.WaitUntilEmpty(timeout); }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* bytes) override;
  grpc::ServerUnaryReactor* AnswerNow(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* bytes,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* CountTokens(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* bytes,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListVariants(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* bytes,
                                         grpc::ByteBuffer* response) override;

 private:
  class GenerateCall;
  class CountCall;

  // Fails: what the client is told; the generation has not begun then.
  absl::Status Begin(const grpc::ByteBuffer& bytes, Generation& generation);
  absl::Status List(const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response) const;
  v1::Variant Describe(std::size_t variant) const;

  const Shared shared_;
  rpc::LargeRequests large_requests_;
  GenerationRegistry registry_;
  std::atomic<bool> draining_ = false;
};

}  // namespace thinkwire::router
