#include "worker/model/checkpoint/deepseek_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "worker/model/checkpoint/fingerprint.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/random_weights.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// DeepSeek-R1's as its repository has it.
json R1Config() {
  return json::parse(R"({
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "aux_loss_alpha": 0.001,
    "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3,
    "hidden_act": "silu", "hidden_size": 7168, "initializer_range": 0.02,
    "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840,
    "model_type": "deepseek_v3", "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8,
    "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true,
    "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61,
    "num_key_value_heads": 128, "num_nextn_predict_layers": 1, "pretraining_tp": 1,
    "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
      "weight_block_size": [128, 128]},
    "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40,
      "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096,
      "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "seq_aux": true,
    "tie_word_embeddings": false, "topk_group": 4, "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16", "use_cache": true, "v_head_dim": 128, "vocab_size": 129280})");
}

ModelConfig Read(const json& config) {
  auto parsed = ParseModelConfig(config.dump(), "config.json");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *std::move(parsed) : ModelConfig();
}

ModelConfig With(const std::string& key, const json& value) {
  json config = R1Config();
  config[key] = value;
  return Read(config);
}

// The message that refuses R1's configuration with one key changed; a null is a missing one.
std::string Refusal(const std::string& key, const json& value) {
  json config = R1Config();
  config[key] = value;
  const auto parsed = ParseModelConfig(config.dump(), "config.json");
  return parsed.ok() ? "accepted" : std::string(parsed.status().message());
}

TEST(DeepseekConfigTest, ReadsR1) {
  const ModelConfig config = Read(R1Config());
  EXPECT_EQ(config.architecture, "DeepseekV3ForCausalLM");
  EXPECT_EQ(config.num_layers, 61);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.max_position_embeddings, 163840);
  EXPECT_THAT(config.warnings, IsEmpty());
  ASSERT_TRUE(config.mla.has_value());
  EXPECT_EQ(config.mla->q_lora_rank, 1536);
  EXPECT_EQ(config.mla->key_dim(), 576);
  EXPECT_EQ(config.mla->qk_head_dim(), 192);
  EXPECT_EQ(config.mla->v_head_dim, 128);
  EXPECT_TRUE(config.mla->rope_interleave);
  ASSERT_TRUE(config.moe.has_value());
  EXPECT_EQ(config.moe->n_routed_experts, 256);
  EXPECT_EQ(config.moe->routed_scaling_factor, 2.5);
  EXPECT_EQ(config.num_mtp_layers, 1);
}

// 192^-0.5 times the square of 0.1 ln 40 + 1 (DeepSeek-V3's inference/model.py, MLA).
TEST(DeepseekConfigTest, ScoresAreTemperedAtEveryLength) {
  EXPECT_NEAR(Read(R1Config()).mla->score_scale, 0.1352338F, 1e-6F);
  EXPECT_NEAR(With("rope_scaling", nullptr).mla->score_scale, 0.0721688F, 1e-6F);
  json scaling = R1Config().at("rope_scaling");
  scaling.erase("mscale_all_dim");
  EXPECT_NEAR(With("rope_scaling", scaling).mla->score_scale, 0.0721688F, 1e-6F);
}

TEST(DeepseekConfigTest, QueriesNeedNoLatents) {
  const ModelConfig config = With("q_lora_rank", nullptr);
  EXPECT_EQ(config.mla->q_lora_rank, 0);
  const PartPlan part = MakePlan(config).layers[0][0];
  EXPECT_EQ(part.weights[0].matrices[0].spec.name, "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(part.weights[0].matrices[0].spec.cols, 7168);
  EXPECT_EQ(part.tables.size(), 1U);
}

TEST(DeepseekConfigTest, RefusesWhatItCannotComputeByKeyAndValue) {
  for (const char* key :
       {"kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "n_routed_experts",
        "num_experts_per_tok", "n_group", "topk_group", "moe_intermediate_size",
        "first_k_dense_replace", "n_shared_experts", "routed_scaling_factor"}) {
    const json bad_values = {nullptr, -1, "8", 9223372036854775807};
    for (const json& value : bad_values) {
      EXPECT_THAT(Refusal(key, value), HasSubstr(std::string(key) + " is")) << value;
    }
  }
  EXPECT_THAT(Refusal("qk_rope_head_dim", 63), HasSubstr("an even number"));
  EXPECT_THAT(Refusal("q_lora_rank", 0), HasSubstr("q_lora_rank is 0"));
  EXPECT_THAT(Refusal("num_key_value_heads", 64), HasSubstr("num_key_value_heads is 64"));
  EXPECT_THAT(Refusal("attention_bias", true), HasSubstr("attention_bias is true"));
  EXPECT_THAT(Refusal("scoring_func", "softmax"), HasSubstr("scoring_func is"));
  EXPECT_THAT(Refusal("scoring_func", 1), HasSubstr("scoring_func is 1; supported: sigmoid"));
  EXPECT_THAT(Refusal("topk_method", "greedy"), HasSubstr("topk_method is"));
  EXPECT_THAT(Refusal("moe_layer_freq", 2), HasSubstr("moe_layer_freq is 2"));
  EXPECT_THAT(Refusal("n_routed_experts", 2048), HasSubstr("65536 in all 61 layers together"));
  EXPECT_THAT(Refusal("n_group", 7), HasSubstr("a divisor of n_routed_experts"));
  EXPECT_THAT(Refusal("rope_scaling", {{"rope_type", "linear"}, {"factor", 2}}),
              AllOf(HasSubstr("rope_scaling is"), HasSubstr("default or yarn")));
}

TEST(DeepseekPlanTest, NamesTheTensorsOfR1) {
  const ModelPlan plan = MakePlan(Read(R1Config()));
  EXPECT_EQ(CountParameters(plan), 671'026'419'200);
  // 12 in each of the 3 dense layers, 782 in the others, and 3.
  EXPECT_EQ(RequiredTensors(plan).size(), 3U * 12U + 58U * 782U + 3U);
  std::vector<std::string> names;
  for (const PlannedWeight& weight : plan.layers[3][0].weights) {
    names.push_back(weight.matrices.front().spec.name);
  }
  EXPECT_THAT(names, ElementsAre("model.layers.3.self_attn.q_b_proj.weight",
                                 "model.layers.3.self_attn.kv_a_proj_with_mqa.weight",
                                 "model.layers.3.self_attn.kv_b_proj.weight",
                                 "model.layers.3.self_attn.o_proj.weight",
                                 "model.layers.3.self_attn.q_a_proj.weight"));
  const PartPlan& moe = plan.layers[3][1];
  EXPECT_EQ(moe.kind, PartKind::kMoe);
  EXPECT_EQ(moe.weights[511].matrices[0].spec.name,
            "model.layers.3.mlp.experts.255.down_proj.weight");
  EXPECT_EQ(moe.weights[513].matrices[0].spec.name,
            "model.layers.3.mlp.shared_experts.down_proj.weight");
  EXPECT_EQ(moe.tables[1].spec.name, "model.layers.3.mlp.gate.e_score_correction_bias");
  EXPECT_EQ(plan.layers[2][1].kind, PartKind::kDenseFfn);
}

TEST(DeepseekPlanTest, LayersThatPredictFurtherTokensAreSurplus) {
  const ModelPlan plan = MakePlan(Read(R1Config()));
  EXPECT_TRUE(IsSurplus(plan, "model.layers.61.eh_proj.weight"));
  EXPECT_TRUE(IsSurplus(plan, "model.layers.61.mlp.experts.0.up_proj.weight"));
  EXPECT_FALSE(IsSurplus(plan, "model.layers.62.eh_proj.weight"));
  EXPECT_FALSE(IsSurplus(plan, "model.layers.6.eh_proj.weight"));
  EXPECT_FALSE(
      IsSurplus(MakePlan(With("num_nextn_predict_layers", 0)), "model.layers.61.enorm.weight"));
}

TEST(DeepseekPlanTest, RanksShareHeadsExpertsAndColumns) {
  const ModelPlan plan = MakePlan(Read(R1Config()));
  EXPECT_TRUE(CheckSplit(plan, 8).ok());
  EXPECT_THAT(std::string(CheckSplit(plan, 3).message()), HasSubstr("256 experts"));
  const RankShape shape = ShapeOfRank(plan, 1, 8);
  const PartPlan& mla = plan.layers[3][0];
  const auto region = [&](const PlannedTensor& tensor) {
    const Region of = RegionOf(tensor, shape);
    return std::vector<std::int64_t>{of.first_row, of.rows, of.first_col, of.cols};
  };
  EXPECT_THAT(region(mla.weights[0].matrices[0]), ElementsAre(16 * 192, 16 * 192, 0, 1536));
  EXPECT_THAT(region(mla.weights[1].matrices[0]), ElementsAre(0, 576, 0, 7168));
  EXPECT_THAT(region(mla.weights[2].matrices[0]), ElementsAre(16 * 256, 16 * 256, 0, 512));
  EXPECT_THAT(region(mla.weights[3].matrices[0]), ElementsAre(0, 7168, 16 * 128, 16 * 128));
  EXPECT_THAT(region(plan.layers[3][1].weights[513].matrices[0]), ElementsAre(0, 7168, 256, 256));
  EXPECT_EQ(shape.of(Division::kExperts).first, 32);
  EXPECT_EQ(shape.of(Division::kExperts).count, 32);
}

// 61 layers of 576 elements, on each rank, however many there are.
TEST(DeepseekPlanTest, ATokenLeavesOneKeyALayerOnEveryRank) {
  const ModelPlan plan = MakePlan(Read(R1Config()));
  for (const std::int32_t ranks : {1, 8}) {
    const RankShape shape = ShapeOfRank(plan, ranks - 1, ranks);
    const KvLayout layout = KvLayoutOf(plan, shape, 16, kernels::DType::kBf16);
    EXPECT_EQ(layout.block_bytes(), 70272 * 16) << ranks << " ranks";
  }
}

TEST(DeepseekPlanTest, OnlyACpuComputesOtherSizesThanThePublished) {
  EXPECT_EQ(NeedsCpu(MakePlan(Read(R1Config()))), "");
  const auto with = [](const char* field, int value) {
    json config = R1Config();
    config[field] = value;
    return NeedsCpu(MakePlan(Read(config)));
  };
  EXPECT_THAT(with("kv_lora_rank", 256), HasSubstr("kv_lora_rank 256"));
  EXPECT_THAT(with("qk_rope_head_dim", 32), HasSubstr("qk_rope_head_dim 32"));
  EXPECT_THAT(with("v_head_dim", 120), HasSubstr("v_head_dim 120"));
  EXPECT_THAT(with("q_lora_rank", 100), HasSubstr("q_lora_rank 100"));
  EXPECT_THAT(with("q_lora_rank", 16400), HasSubstr("q_lora_rank 16400"));
  EXPECT_THAT(with("hidden_size", 16400), HasSubstr("hidden_size 16400"));
  EXPECT_THAT(with("moe_intermediate_size", 2056), HasSubstr("moe_intermediate_size 2056"));
  EXPECT_THAT(with("n_group", 128), HasSubstr("n_group 128"));
}

TEST(FirstLayersTest, AreAShapeOfTheirOwn) {
  ModelConfig config = Read(R1Config());
  ASSERT_TRUE(KeepFirstLayers(11, config).ok());
  const ModelPlan plan = MakePlan(config);
  EXPECT_EQ(plan.layers.size(), 11U);
  EXPECT_THAT(config.warnings, ElementsAre(HasSubstr("the first 11 of 61 layers")));
  EXPECT_TRUE(IsSurplus(plan, "model.layers.61.eh_proj.weight"));
  EXPECT_THAT(Fingerprint(plan, RandomWeights(0), 4, "cpu"),
              testing::StartsWith("deepseekv3-first11of61-bf16-sums4-cpu-r"));
  EXPECT_THAT(std::string(KeepFirstLayers(12, config).message()), HasSubstr("allowed: 1 to 11"));
  EXPECT_FALSE(KeepFirstLayers(0, config).ok());
}

TEST(FirstLayersTest, MayAllBeDense) {
  ModelConfig config = Read(R1Config());
  ASSERT_TRUE(KeepFirstLayers(2, config).ok());
  const ModelPlan plan = MakePlan(config);
  EXPECT_EQ(plan.layers[1][1].kind, PartKind::kDenseFfn);
  EXPECT_TRUE(CheckSplit(plan, 128).ok());
}

TEST(DeepseekFingerprintTest, TellsWhatChangesALogit) {
  const auto fingerprint = [](const ModelConfig& config) {
    return Fingerprint(MakePlan(config), RandomWeights(0), 4, "cpu");
  };
  const std::string base = fingerprint(Read(R1Config()));
  const std::vector<std::pair<std::string, json>> changes = {
      {"kv_lora_rank", 256},     {"rope_interleave", false}, {"routed_scaling_factor", 2.0},
      {"norm_topk_prob", false}, {"topk_group", 5},          {"num_experts_per_tok", 6}};
  for (const auto& [key, value] : changes) EXPECT_NE(fingerprint(With(key, value)), base) << key;
}

}  // namespace
}  // namespace thinkwire::worker::model
