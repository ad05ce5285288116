#include "worker/serve/answer_now_call.h"

#include <cstdint>
#include <optional>

#include "common/rpc/call_peer.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "worker/serve/response_stream.h"
#include "worker/serve/worker_metrics.h"

namespace thinkwire::worker::serve {

AnswerNowCall::AnswerNowCall(const RunningStreams& streams, WorkerMetrics& metrics,
                             const grpc::CallbackServerContext& context)
    : ServerCall(1), streams_(streams), metrics_(metrics), tenant_(rpc::TenantOfPeer(context)) {}

void AnswerNowCall::OnMessage(grpc::ByteBuffer bytes) {
  const absl::StatusOr<grpc::ByteBuffer> answer = Answer(bytes);
  if (answer.ok()) Write(*answer);
  Finish(answer.status());
}

absl::StatusOr<grpc::ByteBuffer> AnswerNowCall::Answer(const grpc::ByteBuffer& bytes) const {
  v1::WorkerAnswerNowRequest request;
  RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
  if (request.request_id().empty()) return rpc::InvalidField("request_id", "is required");
  std::optional<std::int32_t> index;
  if (request.has_output_index()) index = request.output_index();
  const auto streams = streams_.Find(request.request_id(), tenant_);
  if (streams.empty()) {
    return rpc::Error(absl::StatusCode::kNotFound, "REQUEST_NOT_FOUND",
                      "no request of that id runs here");
  }
  v1::WorkerAnswerNowResponse response;
  for (const auto& stream : streams) {
    response.set_outputs(response.outputs() + stream->AnswerNow(index));
  }
  metrics_.CountAnswersNow(response.outputs());
  return rpc::Serialize(response);
}

}  // namespace thinkwire::worker::serve
