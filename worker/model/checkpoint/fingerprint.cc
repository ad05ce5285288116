#include "worker/model/checkpoint/fingerprint.h"

#include <bit>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "worker/model/checkpoint/hash.h"

namespace thinkwire::worker::model {
namespace {

// Every field that changes a logit.
std::uint64_t HashConfig(const ModelConfig& config) {
  std::uint64_t hash = HashBytes(0, config.architecture);
  const auto add_int = [&hash](std::int64_t v) {
    hash = HashWord(hash, static_cast<std::uint64_t>(v));
  };
  const auto add_real = [&hash](double v) {
    hash = HashWord(hash, std::bit_cast<std::uint64_t>(v));
  };
  add_int(config.hidden_size);
  add_int(config.num_layers);
  add_int(config.num_heads);
  add_int(config.num_kv_heads);
  add_int(config.head_dim);
  add_int(config.intermediate_size);
  add_int(config.vocab_size);
  add_int(config.tie_word_embeddings ? 1 : 0);
  add_real(config.rms_norm_eps);
  add_real(config.rope_theta);
  if (config.rope_scaling) {
    add_real(config.rope_scaling->factor);
    add_real(config.rope_scaling->low_freq_factor);
    add_real(config.rope_scaling->high_freq_factor);
    add_real(config.rope_scaling->original_max_position_embeddings);
  }
  return hash;
}

}  // namespace

std::string Fingerprint(const ModelPlan& plan, const WeightSource& source,
                        std::int32_t tensor_parallel_size, const std::string& device) {
  const std::string family =
      absl::AsciiStrToLower(absl::StripSuffix(plan.config.architecture, "ForCausalLM"));
  const std::uint64_t hash = HashWord(HashConfig(plan.config), source.identity());
  return absl::StrCat(family, "-", NameOf(EncodingOf(plan)), "-tp", tensor_parallel_size, "-",
                      device, "-r", kKernelRevision, "-", absl::Hex(hash, absl::kZeroPad16));
}

}  // namespace thinkwire::worker::model
