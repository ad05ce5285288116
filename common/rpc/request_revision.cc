#include "common/rpc/request_revision.h"

namespace thinkwire::rpc {

std::optional<v1::WorkerGenerateRequest> ForRevision(const v1::WorkerGenerateRequest& request,
                                                     std::int32_t revision) {
  const v1::GenerateRequest& asked = request.request();
  const bool has_token_bytes =
      asked.sampling().has_token_bytes() || asked.answer_sampling().has_token_bytes();
  if (revision >= kTokenBytesRevision || !has_token_bytes) return std::nullopt;
  v1::WorkerGenerateRequest older = request;
  v1::GenerateRequest& generate = *older.mutable_request();
  if (generate.has_sampling()) generate.mutable_sampling()->clear_token_bytes();
  if (generate.has_answer_sampling()) generate.mutable_answer_sampling()->clear_token_bytes();
  return older;
}

}  // namespace thinkwire::rpc
