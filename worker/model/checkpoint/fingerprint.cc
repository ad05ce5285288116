#include "worker/model/checkpoint/fingerprint.h"

#include <bit>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "worker/model/checkpoint/hash.h"

namespace thinkwire::worker::model {
namespace {

// Kinds that have as many numbers are told apart by one of their own.
template <class AddReal>
void HashRope(const RopeConfig& rope, const AddReal& add_real) {
  constexpr double kLinear = 1;
  add_real(rope.theta);
  if (const auto* llama = std::get_if<Llama3RopeScaling>(&rope.scaling)) {
    add_real(llama->factor);
    add_real(llama->low_freq_factor);
    add_real(llama->high_freq_factor);
    add_real(llama->original_max_position_embeddings);
  } else if (const auto* yarn = std::get_if<YarnRopeScaling>(&rope.scaling)) {
    for (const double number :
         {yarn->factor, yarn->attention_factor, yarn->beta_fast, yarn->beta_slow,
          yarn->truncate ? 1.0 : 0.0, yarn->original_max_position_embeddings}) {
      add_real(number);
    }
  } else if (const auto* linear = std::get_if<LinearRopeScaling>(&rope.scaling)) {
    add_real(kLinear);
    add_real(linear->factor);
  } else if (const auto* divided = std::get_if<DividedRopeScaling>(&rope.scaling)) {
    for (const float divisor : divided->divisors) add_real(divisor);
  }
}

template <class AddReal>
void HashLatents(const MlaConfig& mla, const MoeConfig& moe, const AddReal& add_real) {
  for (const std::int64_t size :
       {mla.q_lora_rank, mla.kv_lora_rank, mla.qk_nope_head_dim, mla.qk_rope_head_dim,
        mla.v_head_dim, moe.n_routed_experts, moe.num_experts_per_tok, moe.n_group, moe.topk_group,
        moe.n_shared_experts, moe.moe_intermediate_size, moe.first_k_dense_replace}) {
    add_real(static_cast<double>(size));
  }
  add_real(mla.rope_interleave ? 1.0 : 0.0);
  add_real(mla.score_scale);
  add_real(moe.routed_scaling_factor);
  add_real(moe.norm_topk_prob ? 1.0 : 0.0);
}

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
  HashRope(config.rope, add_real);
  if (config.mla && config.moe) HashLatents(*config.mla, *config.moe, add_real);
  return hash;
}

}  // namespace

std::string Fingerprint(const ModelPlan& plan, const WeightSource& source,
                        std::int32_t num_summands, const std::string& device) {
  const std::string family =
      absl::AsciiStrToLower(absl::StripSuffix(plan.config.architecture, "ForCausalLM"));
  std::uint64_t hash = HashWord(HashConfig(plan.config), source.identity());
  for (const kernels::KvScales& scales : plan.kv_cache.scales) {
    hash = HashWord(hash, std::bit_cast<std::uint32_t>(scales.keys));
    hash = HashWord(hash, std::bit_cast<std::uint32_t>(scales.values));
  }
  const std::int64_t layers = plan.config.num_layers;
  const std::int64_t left = plan.config.num_layers_left;
  const std::string first = left == 0 ? "" : absl::StrCat("-first", layers, "of", layers + left);
  const absl::string_view kv = plan.kv_cache.is_fp8 ? "-kv_fp8_e4m3" : "";
  const absl::string_view sums = plan.config.mla ? "-sums" : "-tp";
  return absl::StrCat(family, first, "-", EncodingsOf(plan), kv, sums, num_summands, "-", device,
                      "-r", kKernelRevision, "-", absl::Hex(hash, absl::kZeroPad16));
}

}  // namespace thinkwire::worker::model
