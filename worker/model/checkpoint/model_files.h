#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/generation_config.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// What one model is kept in, whatever its form: who loads a model asks here and knows no file name.
// That is a folder as Hugging Face lays it out, or a GGUF file (gguf_shards.h, gguf_config.h),
// which keeps all of it in itself.
//
// Where several files or keys of a folder speak of the same thing, the first of these is obeyed, as
// transformers 5.24 does, and a warning names each of the others that says something else:
//   architecture     config.json: model_type, architectures
//   rope             config.json: rope_scaling unless empty, rope_parameters; never parts of both
//     its type       rope_type, type
//     its theta      in that object, beside it, 10000
//     first context  config.json: original_max_position_embeddings beside it, in it,
//                    max_position_embeddings
//   end of output    generation_config.json: eos_token_id, that of config.json; the tokenizer's
//                    eos_token always ends an output too
//   sampling         generation_config.json, unless --generation_config=none; the contract's
//                    defaults
//   chat template    chat_template.jinja, tokenizer_config.json: chat_template; only to be
//                    recognised
//   weights          model.safetensors, the files that model.safetensors.index.json names, each for
//                    what it holds and not for what the index says
//   head             lm_head.weight where it differs from the embedding, tie_word_embeddings
//   tokens           tokenizer_config.json: added_tokens_decoder, tokenizer.json: added_tokens,
//                    added_tokens.json; the last only where there is no added_tokens_decoder
//   bos, eos, …      special_tokens_map.json only where there is no added_tokens_decoder,
//                    tokenizer_config.json, the published spellings
// Not read: max_new_tokens and max_length of generation_config.json. A request that leaves
// max_tokens open has asked for all that the context leaves, and is not cut by a file.
// Threads: any. Files are read by the call that asks for what is in them, so that a configuration
// can be had where there are no weights.
class ModelFiles {
 public:
  virtual ~ModelFiles() = default;

  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming file, key and value.
  virtual absl::StatusOr<ModelConfig> Config() const = 0;

  // How tokens are drawn where a request does not say it. Fails: INVALID_ARGUMENT, as Config.
  virtual absl::StatusOr<SamplingDefaults> DefaultSampling() const = 0;

  // The folder with the tokenizer's files, or the file that has it, which worker/text reads.
  virtual std::filesystem::path TokenizerPath() const = 0;

  // Checks every tensor of the plan and reads it once; unties its head where the files have another
  // than the embedding, and adds to its warnings. The source does not need this object.
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming file and tensor.
  virtual absl::StatusOr<std::unique_ptr<WeightSource>> Weights(ModelPlan& plan) const = 0;
};

// Chooses the form by what `path` is: a folder, or a file (common/gguf_file.h). Reads nothing.
std::unique_ptr<ModelFiles> OpenModelFiles(const std::filesystem::path& path);

}  // namespace thinkwire::worker::model
