#pragma once

#include <vector>

#include "absl/status/status.h"
#include "common/gguf_header.h"
#include "worker/model/checkpoint/generation_config.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// The other direction of ReadGgufConfig and ReadGgufSampling: `general.architecture` and the keys
// of a qwen2 or llama under llama.cpp's names, and `general.sampling.*` for what is set. Llama 3's
// stretch of the frequencies is no value there but a tensor (RopeDivisors).
// Fails: INVALID_ARGUMENT for what a GGUF file cannot say, naming it.
absl::Status AddGgufValues(const ModelConfig& config, const SamplingDefaults& sampling,
                           GgufHeader& header);

// Llama 3's divisors of the D/2 frequencies, as llama.cpp's converter writes `rope_freqs.weight`.
// In no other kind of scaling are there any.
std::vector<float> RopeDivisors(const ModelConfig& config);

}  // namespace thinkwire::worker::model
