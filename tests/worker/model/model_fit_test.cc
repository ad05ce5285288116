#include "worker/model/model_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/worker/model/model_files.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

// A folder with a config.json of DeepSeek-R1-Distill-Qwen-7B's sizes, and nothing else.
class ModelFitTest : public testing::Test {
 protected:
  ModelFitTest() { Write(); }

  void Write() const { WriteFile(folder_.path() / "config.json", config_.dump()); }

  ModelFit Fit(const MemoryPlace& place, const std::string& kv_cache_dtype = "auto") const {
    const auto fit = FitOf(folder_.path(), place, kv_cache_dtype);
    EXPECT_TRUE(fit.ok()) << fit.status();
    return fit.value_or(ModelFit());
  }

  const TempDir folder_;
  nlohmann::json config_ = {{"architectures", {"Qwen2ForCausalLM"}},
                            {"model_type", "qwen2"},
                            {"eos_token_id", 151643},
                            {"hidden_act", "silu"},
                            {"hidden_size", 3584},
                            {"intermediate_size", 18944},
                            {"max_position_embeddings", 131072},
                            {"num_attention_heads", 28},
                            {"num_hidden_layers", 28},
                            {"num_key_value_heads", 4},
                            {"rms_norm_eps", 1e-6},
                            {"rope_theta", 10000},
                            {"tie_word_embeddings", false},
                            {"vocab_size", 152064}};
};

// Of DeepSeek-R1 itself.
nlohmann::json DeepseekSizes() {
  return {{"architectures", {"DeepseekV3ForCausalLM"}},
          {"model_type", "deepseek_v3"},
          {"eos_token_id", 1},
          {"first_k_dense_replace", 3},
          {"hidden_size", 7168},
          {"intermediate_size", 18432},
          {"kv_lora_rank", 512},
          {"moe_intermediate_size", 2048},
          {"n_group", 8},
          {"n_routed_experts", 256},
          {"n_shared_experts", 1},
          {"num_attention_heads", 128},
          {"num_experts_per_tok", 8},
          {"num_hidden_layers", 61},
          {"num_key_value_heads", 128},
          {"q_lora_rank", 1536},
          {"qk_nope_head_dim", 128},
          {"qk_rope_head_dim", 64},
          {"quantization_config",
           {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {128, 128}}}},
          {"routed_scaling_factor", 2.5},
          {"topk_group", 4},
          {"v_head_dim", 128},
          {"vocab_size", 129280}};
}

MemoryPlace Gpus(std::int64_t gib, std::int32_t devices = 1) {
  return {.device = {.name = "cuda-sm90 fake",
                     .kind = kernels::DeviceKind::kCuda,
                     .activation = kernels::DType::kBf16,
                     .only_head_dim = 128},
          .free_bytes = gib * kGiB,
          .devices = devices};
}

TEST_F(ModelFitTest, CountsWeightsAndKeysAndValues) {
  const ModelFit fit = Fit(Gpus(80));
  EXPECT_EQ(fit.kv_bytes_per_token, 2 * 28 * 4 * 128 * 2);
  // 7,615,616,512 parameters of two bytes.
  EXPECT_NEAR(static_cast<double>(fit.weight_bytes), 15.231e9, 0.01e9);
  EXPECT_EQ(fit.context, 131072);
  EXPECT_EQ(FitText(fit),
            "weights 15.2 GB, KV 57.3 MB a thousand tokens: fits, 131072 tokens of context");
}

TEST_F(ModelFitTest, LessMemoryHoldsLessContext) {
  const ModelFit fit = Fit(Gpus(22));
  EXPECT_GT(fit.context, 1000);
  EXPECT_LT(fit.context, 131072);
  EXPECT_EQ(fit.longest, 131072);
  EXPECT_THAT(FitText(fit), testing::HasSubstr(" of 131072 tokens of context"));
}

TEST_F(ModelFitTest, WhatDoesNotFitIsCountedAllTheSame) {
  const ModelFit fit = Fit(Gpus(12));
  EXPECT_EQ(fit.context, 0);
  EXPECT_EQ(FitText(fit), "weights 15.2 GB, KV 57.3 MB a thousand tokens: does not fit");
}

TEST_F(ModelFitTest, TakesAsManyDevicesAsItNeeds) {
  const ModelFit fit = Fit(Gpus(12, 8));
  EXPECT_EQ(fit.ranks, 2);
  EXPECT_EQ(fit.kv_bytes_per_token, 2 * 28 * 4 * 128 * 2);
  EXPECT_THAT(FitText(fit), testing::EndsWith(" with --tensor_parallel_size 2"));
  EXPECT_EQ(Fit(Gpus(80, 8)).ranks, 1);
}

TEST_F(ModelFitTest, QuantisedMatricesTakeWhatTheirConfigurationSays) {
  config_["quantization_config"] = {{"quant_method", "awq"},
                                    {"bits", 4},
                                    {"group_size", 128},
                                    {"version", "gemm"},
                                    {"zero_point", true}};
  Write();
  // 68 bytes for 128 of the layers' weights; head and embedding of two bytes each.
  EXPECT_NEAR(static_cast<double>(Fit(Gpus(80)).weight_bytes), 5.64e9, 0.05e9);
  EXPECT_GT(Fit(Gpus(12)).context, 4096);
}

TEST_F(ModelFitTest, KeysAndValuesInFp8TakeHalfAndHoldTwiceTheContext) {
  const ModelFit whole = Fit(Gpus(20));
  const ModelFit halved = Fit(Gpus(20), "fp8_e4m3");
  EXPECT_EQ(halved.kv_bytes_per_token, 28 * 4 * 2 * 128);
  EXPECT_NEAR(halved.context, 2 * whole.context, 64);
  config_["quantization_config"] = Fp8KvCacheConfig();
  Write();
  EXPECT_EQ(Fit(Gpus(20)).context, halved.context) << "as the checkpoint was measured";
  EXPECT_EQ(Fit(Gpus(20), "bfloat16").context, whole.context);
}

TEST_F(ModelFitTest, TheHostKeepsFloats) {
  const ModelFit fit = Fit({.device = {.name = "cpu"}, .free_bytes = 64 * kGiB, .devices = 1});
  EXPECT_EQ(fit.kv_bytes_per_token, 2 * 28 * 4 * 128 * 4);
  EXPECT_GT(fit.context, 4096);
}

// DeepSeek-R1 itself: FP8 matrices in blocks of 132 bytes, a key of 576 floats a layer and token.
TEST_F(ModelFitTest, LatentAttentionAndExpertsTakeAHostOrEightGpus) {
  config_.update(DeepseekSizes());
  Write();
  const MemoryPlace host = {.device = {.name = "cpu"}, .free_bytes = 16 * kGiB, .devices = 1};
  const ModelFit fit = Fit(host);
  EXPECT_EQ(fit.context, 0);
  EXPECT_EQ(fit.kv_bytes_per_token, 61 * 576 * 4);
  EXPECT_NEAR(static_cast<double>(fit.weight_bytes), 694.4e9, 0.1e9);
  EXPECT_GT(Fit({.device = {.name = "cpu"}, .free_bytes = 720 * kGiB, .devices = 1}).context, 4096);
  EXPECT_EQ(Fit(Gpus(80, 8)).context, 0);
  EXPECT_GT(Fit(Gpus(140, 8)).context, 4096);
  EXPECT_THAT(std::string(FitOf(folder_.path(), host, "fp8_e4m3").status().message()),
              testing::HasSubstr("allowed for the latents of DeepseekV3ForCausalLM: bfloat16"));
  config_["kv_lora_rank"] = 256;
  Write();
  EXPECT_THAT(std::string(FitOf(folder_.path(), Gpus(140, 8)).status().message()),
              testing::HasSubstr("kv_lora_rank 256"));
}

// As loading would.
TEST_F(ModelFitTest, RefusesLatentsWhereAMultiprocessorHasTooLittleMemory) {
  config_.update(DeepseekSizes());
  Write();
  MemoryPlace small = Gpus(140, 8);
  EXPECT_TRUE(FitOf(folder_.path(), small).ok());
  small.device.name = "cuda-sm86 fake";
  small.device.attends_to_latents = false;
  EXPECT_THAT(std::string(FitOf(folder_.path(), small).status().message()),
              testing::HasSubstr("latents are not supported on cuda-sm86 fake"));
}

TEST_F(ModelFitTest, TheHostTakesTheEmbeddingWhereThatHelps) {
  MemoryPlace place = Gpus(20);
  const ModelFit beside = Fit(place);
  EXPECT_FALSE(beside.host_embedding);
  place.host_bytes = 64 * kGiB;
  const ModelFit fit = Fit(place);
  EXPECT_TRUE(fit.host_embedding);
  EXPECT_EQ(beside.weight_bytes - fit.weight_bytes, 2 * 152064 * 3584);
  EXPECT_GT(fit.context, beside.context + 18000);
  EXPECT_THAT(FitText(fit), testing::StartsWith("weights 14.1 GB without the embedding, which is "
                                                "in host memory, KV "));
}

TEST_F(ModelFitTest, RefusesWhatCannotBeServed) {
  config_["num_attention_heads"] = 56;  // heads of 64
  Write();
  EXPECT_THAT(std::string(FitOf(folder_.path(), Gpus(80)).status().message()),
              testing::HasSubstr("head_dim is 64; supported: 128"));
  config_["model_type"] = "gpt2";
  Write();
  EXPECT_EQ(FitOf(folder_.path(), Gpus(80)).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace thinkwire::worker::model
