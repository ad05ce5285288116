#pragma once

#include "absl/status/status.h"

namespace thinkwire::v1 {
class AnswerNowRequest;
class CountTokensRequest;
class GenerateRequest;
class WorkerGenerateRequest;
}  // namespace thinkwire::v1

namespace thinkwire::rpc {

// What can be said of a request without knowing the variant; router and worker both ask, so that
// they agree on what is built and what is in range. What needs the vocabulary or the context
// (token ids, top_k, max_tokens against the context) only the worker can check.
// Fails: UNIMPLEMENTED a field that is not built yet, by name; INVALID_ARGUMENT a value out of its
// range, NaN included, a missing or contradictory field.
absl::Status CheckRequest(const v1::GenerateRequest& request);
absl::Status CheckRequest(const v1::CountTokensRequest& request);
absl::Status CheckRequest(const v1::WorkerGenerateRequest& request);
absl::Status CheckRequest(const v1::AnswerNowRequest& request);

}  // namespace thinkwire::rpc
