#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/server_call.h"
#include "worker/serve/running_streams.h"

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace thinkwire::worker::serve {

class WorkerMetrics;

// One AnswerNow call: of all attempts at a request of the tenant who calls. Fails: NOT_FOUND
// (REQUEST_NOT_FOUND), there are none; INVALID_ARGUMENT. Threads: rpc::ServerCall's.
class AnswerNowCall final : public rpc::ServerCall {
 public:
  // Both outlive the call.
  AnswerNowCall(const RunningStreams& streams, WorkerMetrics& metrics,
                const grpc::CallbackServerContext& context);

 private:
  void OnMessage(grpc::ByteBuffer bytes) override;
  absl::StatusOr<grpc::ByteBuffer> Answer(const grpc::ByteBuffer& bytes) const;

  const RunningStreams& streams_;
  WorkerMetrics& metrics_;
  const std::string tenant_;  // who calls
};

}  // namespace thinkwire::worker::serve
