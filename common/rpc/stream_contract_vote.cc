// StreamContract's counts over all outputs, and its part for a consensus: rule 9.

#include "common/rpc/contract_errors.h"
#include "common/rpc/stream_contract.h"

namespace thinkwire::rpc {

std::int64_t StreamContract::tokens() const {
  std::int64_t tokens = 0;
  for (const Output& output : outputs_) tokens += output.tokens();
  return tokens;
}

bool StreamContract::IsUnheard(const v1::Finished& finished, const Output& output) const {
  return has_consensus_ && output.place == Place::kBegun && finished.token_ids().empty();
}

absl::Status StreamContract::AddUnheard(const v1::Finished& finished, Output& output) {
  if (!v1::FinishReason_IsValid(finished.reason()) ||
      finished.reason() == v1::FINISH_REASON_UNSPECIFIED || !finished.logprobs().empty()) {
    return Wrong("Finished.reason is ", static_cast<int>(finished.reason()), " with ",
                 finished.logprobs_size(), " log-probabilities");
  }
  output.place = Place::kFinished;
  return absl::OkStatus();
}

}  // namespace thinkwire::rpc
