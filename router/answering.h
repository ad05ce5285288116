#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "common/rpc/call_count.h"
#include "common/rpc/shares.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "router/generation_registry.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router {

// The life of one AnswerNow: the request is this router's, or it came by another and all workers
// are asked for it, each once and at once. The first that has it ends the search. Whose the request
// is must be who asks: both look for it under his name, so that nobody learns of another's.
// Lives until all workers have answered. Threads: any.
class Answering final : public std::enable_shared_from_this<Answering> {
 public:
  // What all share; outlives them.
  struct Shared {
    const fleet::WorkerPool& pool;
    const GenerationRegistry& registry;
    rpc::Shares& worker_calls;     // of kMaxAnswerNowCalls
    rpc::CallCount& running;       // where it counts until the last worker has answered
    std::int32_t num_routers = 1;  // before the workers
  };

  // `on_done` is told once, at once or on a gRPC thread. Fails: NOT_FOUND (REQUEST_NOT_FOUND) all
  // workers have said so, and there is no router beside this one; UNAVAILABLE one of them could not
  // be asked, or none lives, or (REQUEST_NOT_SEEN) all have said so, but another router may have
  // the request in its queue, which routers do not tell each other of; RESOURCE_EXHAUSTED too many
  // are being asked. REQUIRES: rpc::CheckRequest has passed the request.
  static void Start(const Shared& shared, const fleet::CallContext& context,
                    const v1::AnswerNowRequest& request, fleet::AnswerNowDone on_done);

 private:
  Answering(const Shared& shared, rpc::Shares::Held held, std::size_t num_asked,
            fleet::AnswerNowDone on_done);

  absl::Status Unknown() const;
  void Hear(const absl::StatusOr<std::int32_t>& outputs);

  const bool is_only_router_;
  Mutex mu_;
  rpc::CallCount::Token running_ ABSL_GUARDED_BY(mu_);
  rpc::Shares::Held held_ ABSL_GUARDED_BY(mu_);
  std::size_t num_left_ ABSL_GUARDED_BY(mu_);          // of those asked
  bool failed_ ABSL_GUARDED_BY(mu_) = false;           // one could not be asked
  fleet::AnswerNowDone on_done_ ABSL_GUARDED_BY(mu_);  // null: it is told
};

}  // namespace thinkwire::router
