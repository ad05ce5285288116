#pragma once

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/generation_config.h"
#include "worker/model/checkpoint/gguf_shards.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// What the values of a GGUF file say of a decoder that we can compute, `general.architecture`
// qwen2, llama or deepseek2 (gguf_deepseek.h). `{arch}.vocab_size` counts the rows of the
// embedding, else `tokenizer.ggml.tokens` does; the head is the embedding where there is no
// `output.weight`; `rope_freqs.weight` divides the rotary frequencies (Llama 3's stretch as
// llama.cpp's converter writes it). Fails: INVALID_ARGUMENT, naming file, key or tensor, value and
// what is supported.
absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufShards& shards);

// `general.sampling.*`. Fails: as ReadGgufConfig.
absl::StatusOr<SamplingDefaults> ReadGgufSampling(const GgufShards& shards);

}  // namespace thinkwire::worker::model
