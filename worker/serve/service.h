#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/rpc/call_count.h"
#include "common/rpc/large_requests.h"
#include "thinkwire/v1/worker.grpc.pb.h"
#include "worker/serve/request_reader.h"
#include "worker/serve/response_stream.h"
#include "worker/serve/status_board.h"

namespace thinkwire::worker::serve {

// thinkwire.v1.WorkerService. Methods are raw: rpc::ParseRequest tells a client what is wrong with
// its bytes, which gRPC's own parsing would not.
// Threads: any. Nothing long runs on gRPC's threads: prompts are read on the text pool.
class WorkerService final : public v1::WorkerService::WithRawCallbackMethod_Generate<
                                v1::WorkerService::WithRawCallbackMethod_WatchStatus<
                                    v1::WorkerService::WithRawCallbackMethod_AnswerNow<
                                        v1::WorkerService::WithRawCallbackMethod_CountTokens<
                                            v1::WorkerService::Service>>>> {
 public:
  // All must outlive the server that the service is registered with.
  WorkerService(const ResponseStream::Shared& shared, const RequestReader& reader,
                StatusBoard& board);
  ~WorkerService() override;

  // From now on Generate is refused with UNAVAILABLE and the status says draining.
  void StartDraining();

  // Waits until no Generate call is left, nor a job of one on the text pool, at most `timeout` by
  // the machine's clock. False if some are.
  bool WaitUntilIdle(Clock::Duration timeout);

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* bytes) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchStatus(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* bytes) override;
  grpc::ServerUnaryReactor* AnswerNow(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* bytes,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* CountTokens(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* bytes,
                                        grpc::ByteBuffer* response) override;

 private:
  class GenerateCall;
  class WatchCall;

  absl::Status Count(const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response) const;
  absl::Status TextPoolIsFull() const;

  const ResponseStream::Shared shared_;
  const RequestReader& reader_;
  StatusBoard& board_;
  rpc::LargeRequests large_requests_;
  std::atomic<bool> draining_ = false;
  rpc::CallCount running_;  // Generate calls
};

}  // namespace thinkwire::worker::serve
