#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/rpc/call_count.h"
#include "common/rpc/large_requests.h"
#include "common/rpc/raw_service.h"
#include "thinkwire/v1/worker.grpc.pb.h"
#include "worker/serve/request_reader.h"
#include "worker/serve/response_stream.h"
#include "worker/serve/status_board.h"

namespace thinkwire::worker::serve {

// thinkwire.v1.WorkerService.
// Threads: any. Nothing long runs on gRPC's threads: prompts are read on the text pool.
class WorkerService final : public rpc::RawService {
 public:
  // All must outlive the server that the service is registered with.
  WorkerService(const ResponseStream::Shared& shared, const RequestReader& reader,
                StatusBoard& board);
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

  absl::StatusOr<v1::WorkerCountTokensResponse> Count(const grpc::ByteBuffer& bytes) const;
  absl::Status TextPoolIsFull() const;

  const ResponseStream::Shared shared_;
  const RequestReader& reader_;
  StatusBoard& board_;
  rpc::LargeRequests large_requests_;
  std::atomic<bool> draining_ = false;
  rpc::CallCount running_;  // requests without an end
};

}  // namespace thinkwire::worker::serve
