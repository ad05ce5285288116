#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rpc/call_count.h"
#include "common/rpc/request_bytes.h"
#include "router/fleet/worker_client.h"
#include "router/generation.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router {

// What a router's doors ask of it, whatever protocol each speaks: behind all of them is one way to
// a worker, with one queue, one set of limits and one list of who may call. ReasoningService is it,
// which is the door for gRPC too. Threads: any; nothing blocks.
class Intake {
 public:
  virtual ~Intake() = default;

  // One request as long as it has no end: an operator's drain waits for it.
  virtual rpc::CallCount::Token BeginCount() = 0;

  // Whose a call is that shows `key`, or if that is empty a connection whose verified certificate
  // has `certificate_names` (Callers). Empty: there are no tenants. Fails: UNAUTHENTICATED,
  // counted.
  virtual absl::StatusOr<std::string> TenantOf(
      std::string_view key, std::span<const std::string> certificate_names) const = 0;

  // By whom rpc::Shares counts a call of that tenant, or if it is nobody's of a connection that
  // gRPC would call `grpc_peer`.
  virtual std::string PeerOf(const std::string& tenant, std::string_view grpc_peer) const = 0;

  // Takes `bytes`, the size of a request as it arrived. Fails: UNAVAILABLE, the router drains;
  // RESOURCE_EXHAUSTED, as RequestBytes::Admit.
  virtual absl::StatusOr<rpc::RequestBytes::Held> AdmitBytes(const std::string& peer,
                                                             std::size_t bytes) = 0;

  // A request that has just arrived. Start or Refuse follows; `sink` is told of its end, then
  // EndGeneration must be called, once.
  virtual std::shared_ptr<Generation> MakeGeneration(const fleet::CallContext& context,
                                                     std::shared_ptr<EventSink> sink) = 0;
  // Its client has its end, or is gone.
  virtual void EndGeneration() = 0;

  // Checks and begins what AdmitBytes has let in. Fails: what the client is told; the generation
  // has not begun then.
  virtual absl::Status Begin(rpc::RequestBytes::Held held, v1::GenerateRequest request,
                             Generation& generation) = 0;

  // Ends the reasoning of a request of the same client's (Answering). `on_done` is told once, at
  // once or later. Fails there: as Answering::Start, and INVALID_ARGUMENT.
  virtual void AnswerNow(const fleet::CallContext& context, const v1::AnswerNowRequest& request,
                         fleet::AnswerNowDone on_done) = 0;

  // The variants that are configured, by name in ascending order, and how they are now.
  virtual std::vector<v1::Variant> ListVariants() const = 0;
};

}  // namespace thinkwire::router
