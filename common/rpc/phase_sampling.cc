#include "common/rpc/phase_sampling.h"

namespace thinkwire::rpc {

v1::PhaseSampling InForce(const v1::PhaseSampling& both, const v1::PhaseSampling& own) {
  v1::PhaseSampling merged = both;
  // MergeFrom sets what is set, but appends to lists and adds to maps.
  if (!own.logit_bias().empty()) merged.clear_logit_bias();
  if (!own.stop_strings().empty()) merged.clear_stop_strings();
  if (!own.stop_token_ids().empty()) merged.clear_stop_token_ids();
  if (own.has_logprobs() && !own.logprobs()) {
    merged.clear_top_logprobs();
    merged.clear_token_bytes();
  }
  merged.MergeFrom(own);
  return merged;
}

}  // namespace thinkwire::rpc
