#include "worker/model/checkpoint/deepseek_plan.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/kernels/parts_extent.h"
#include "worker/model/checkpoint/planned_tensors.h"

namespace thinkwire::worker::model {
namespace {

PlannedWeight Plain(PlannedTensor tensor) { return {.matrices = {std::move(tensor)}}; }

void Append(std::vector<PlannedWeight> more, std::vector<PlannedWeight>& weights) {
  for (PlannedWeight& weight : more) weights.push_back(std::move(weight));
}

}  // namespace

PartPlan MlaPart(const ModelConfig& config, const std::string& layer) {
  const MlaConfig& mla = *config.mla;
  const std::string name = layer + "self_attn.";
  const std::int64_t e = config.hidden_size;
  const std::int64_t heads = config.num_heads;
  const bool has_latents = mla.q_lora_rank > 0;
  const std::int64_t head_rows = mla.qk_nope_head_dim + mla.v_head_dim;
  PartPlan part = {
      .kind = PartKind::kMla,
      .norm = Vector(layer + "input_layernorm.weight", e),
      .weights = {Plain(Rows(name + (has_latents ? "q_b_proj.weight" : "q_proj.weight"),
                             heads * mla.qk_head_dim(), has_latents ? mla.q_lora_rank : e,
                             Division::kQueryHeads, mla.qk_head_dim())),
                  Plain(
                      Rows(name + "kv_a_proj_with_mqa.weight", mla.key_dim(), e, Division::kWhole)),
                  Plain(Rows(name + "kv_b_proj.weight", heads * head_rows, mla.kv_lora_rank,
                             Division::kQueryHeads, head_rows)),
                  Plain(Columns(name + "o_proj.weight", e, heads * mla.v_head_dim,
                                Division::kQueryHeads))},
      .tables = {Vector(name + "kv_a_layernorm.weight", mla.kv_lora_rank)},
      .kv_planes = {{Division::kKvHeads, mla.key_dim()}}};
  if (!has_latents) return part;
  part.weights.push_back(
      Plain(Rows(name + "q_a_proj.weight", mla.q_lora_rank, e, Division::kWhole)));
  part.tables.push_back(Vector(name + "q_a_layernorm.weight", mla.q_lora_rank));
  return part;
}

PartPlan MoePart(const ModelConfig& config, const std::string& layer) {
  const MoeConfig& moe = *config.moe;
  const std::string name = layer + "mlp.";
  const std::int64_t e = config.hidden_size;
  PartPlan part = {.kind = PartKind::kMoe,
                   .norm = Vector(layer + "post_attention_layernorm.weight", e),
                   .weights = {},
                   .tables = {Rows(name + "gate.weight", moe.n_routed_experts, e, Division::kWhole),
                              Vector(name + "gate.e_score_correction_bias", moe.n_routed_experts)}};
  for (std::int64_t i = 0; i < moe.n_routed_experts; ++i) {
    Append(PlanSwiGlu(absl::StrCat(name, "experts.", i, "."), e, moe.moe_intermediate_size,
                      Division::kWhole),
           part.weights);
  }
  if (moe.n_shared_experts == 0) return part;
  Append(PlanSwiGlu(name + "shared_experts.", e, moe.n_shared_experts * moe.moe_intermediate_size,
                    Division::kSharedFfn),
         part.weights);
  return part;
}

std::string DeepseekNeedsCpu(const ModelConfig& config) {
  if (!config.mla) return "";
  const MlaConfig& mla = *config.mla;
  if (mla.kv_lora_rank != kernels::kLatentWidth ||
      mla.qk_rope_head_dim != kernels::kLatentRotated) {
    return absl::StrCat("latents of kv_lora_rank ", mla.kv_lora_rank, " and qk_rope_head_dim ",
                        mla.qk_rope_head_dim, " (others than ", kernels::kLatentWidth, " and ",
                        kernels::kLatentRotated, ")");
  }
  constexpr std::int64_t kTile = 16;
  if (mla.qk_nope_head_dim % kTile != 0 || mla.v_head_dim % kTile != 0) {
    return absl::StrCat("heads of qk_nope_head_dim ", mla.qk_nope_head_dim, " and v_head_dim ",
                        mla.v_head_dim, " (not in ", kTile, "s)");
  }
  // As products and norms take them.
  constexpr std::int64_t kColumns = 8;
  constexpr std::int64_t kMostColumns = 16'384;
  for (const auto& [name, columns] :
       {std::pair("q_lora_rank", mla.q_lora_rank), {"hidden_size", config.hidden_size}}) {
    if (columns % kColumns == 0 && columns <= kMostColumns) continue;
    return absl::StrCat("rows of ", name, " ", columns, " (not in ", kColumns, "s, or over ",
                        kMostColumns, ")");
  }
  if (!config.moe) return "";
  const MoeConfig& moe = *config.moe;
  if (config.hidden_size % kTile != 0 || moe.moe_intermediate_size % kTile != 0) {
    return absl::StrCat("experts of hidden_size ", config.hidden_size,
                        " and moe_intermediate_size ", moe.moe_intermediate_size, " (not in ",
                        kTile, "s)");
  }
  constexpr std::int64_t kMostGroups = 64;
  if (moe.n_group <= kMostGroups) return "";
  return absl::StrCat("n_group ", moe.n_group, " (more than ", kMostGroups, " groups of experts)");
}

}  // namespace thinkwire::worker::model
