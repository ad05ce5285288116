#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/worker/model/gguf_model.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "worker/kernels/unpack_row.h"
#include "worker/model/checkpoint/gguf_names.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/load_model.h"

// A deepseek2 file, as llama.cpp's converter writes one, beside the folder that it is made of.
namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

// What tests change of the file.
struct Form {
  bool parted = true;                  // attn_k_b and attn_v_b in place of attn_kv_b
  Encoding encoding = Encoding::kF32;  // of matrices
  bool through_q8 = false;             // which are what Q8_0 stands for
  std::string without = {};            // a key or a tensor
  std::function<void(GgufWriter&)> more = {};
};

// Keeps the tensors of experts until it has them all.
class DeepseekFile {
 public:
  explicit DeepseekFile(const Form& form)
      : form_(form), config_(json::parse(ReadFile(ModelDir("deepseek") / "config.json"))) {
    AddValues();
    for (const auto& [name, tensor] : ReadFloats(ModelDir("deepseek"))) Take(name, tensor);
    for (const auto& [name, experts] : experts_) {
      FloatTensor all = {{std::ssize(experts)}, {}};
      all.shape.insert(all.shape.end(), experts.at(0).shape.begin(), experts.at(0).shape.end());
      for (const auto& [number, expert] : experts) {
        all.values.insert(all.values.end(), expert.values.begin(), expert.values.end());
      }
      Add(name, all);
    }
    if (form.more) form.more(writer_);
  }

  void Write(const std::filesystem::path& path) const { WriteFile(path, writer_.File()); }

 private:
  std::int64_t Size(const char* key) const { return config_.at(key).get<std::int64_t>(); }

  void U32(const std::string& key, std::int64_t value) {
    if (key != form_.without) writer_.U32("deepseek2." + key, static_cast<std::uint32_t>(value));
  }
  void F32(const std::string& key, double value) {
    if (key != form_.without) writer_.F32("deepseek2." + key, static_cast<float>(value));
  }

  void AddValues() {
    writer_.Text("general.architecture", "deepseek2");
    U32("context_length", Size("max_position_embeddings"));
    U32("embedding_length", Size("hidden_size"));
    U32("block_count", Size("num_hidden_layers") + 1);
    U32("nextn_predict_layers", 1);
    U32("feed_forward_length", Size("intermediate_size"));
    U32("vocab_size", Size("vocab_size"));
    U32("attention.head_count", Size("num_attention_heads"));
    U32("attention.head_count_kv", form_.parted ? 1 : Size("num_attention_heads"));
    F32("attention.layer_norm_rms_epsilon", config_.at("rms_norm_eps"));
    U32("attention.q_lora_rank", Size("q_lora_rank"));
    U32("attention.kv_lora_rank", Size("kv_lora_rank"));
    const std::string mla = form_.parted ? "_mla" : "";
    U32("attention.key_length" + mla, Size("qk_head_dim"));
    U32("attention.value_length" + mla, Size("v_head_dim"));
    if (form_.parted) {
      U32("attention.key_length", Size("kv_lora_rank") + Size("qk_rope_head_dim"));
      U32("attention.value_length", Size("kv_lora_rank"));
    }
    AddRope();
    AddExperts();
    writer_.U32("tokenizer.ggml.eos_token_id", 95);
  }

  void AddRope() {
    U32("rope.dimension_count", Size("qk_rope_head_dim"));
    F32("rope.freq_base", config_.at("rope_theta"));
    writer_.Text("deepseek2.rope.scaling.type", "yarn");
    F32("rope.scaling.factor", 4);
    U32("rope.scaling.original_context_length", 64);
    F32("rope.scaling.yarn_log_multiplier", 0.1);
  }

  void AddExperts() {
    U32("expert_count", Size("n_routed_experts"));
    U32("expert_used_count", Size("num_experts_per_tok"));
    U32("expert_shared_count", Size("n_shared_experts"));
    U32("expert_group_count", Size("n_group"));
    U32("expert_group_used_count", Size("topk_group"));
    U32("expert_feed_forward_length", Size("moe_intermediate_size"));
    U32("expert_gating_func", 2);
    U32("leading_dense_block_count", Size("first_k_dense_replace"));
    F32("expert_weights_scale", config_.at("routed_scaling_factor"));
    writer_.Raw("deepseek2.expert_weights_norm", GgufType::kBool, "\1");
  }

  void Take(const std::string& name, const FloatTensor& tensor) {
    const GgufPlace place = GgufPlaceOf(name);
    if (place.expert >= 0) {
      experts_[place.tensor][place.expert] = tensor;
    } else if (form_.parted && name.ends_with("kv_b_proj.weight")) {
      AddParted(place.tensor.substr(0, place.tensor.find("attn_")), tensor);
    } else {
      Add(place.tensor, tensor);
    }
  }

  // As DeepseekV2Model.modify_tensors of convert_hf_to_gguf.py: view(heads, P + V, C), split, and
  // keys transposed.
  void AddParted(const std::string& block, const FloatTensor& whole) {
    const std::int64_t p = Size("qk_nope_head_dim");
    const std::int64_t v = Size("v_head_dim");
    const std::int64_t c = Size("kv_lora_rank");
    const std::int64_t heads = Size("num_attention_heads");
    const auto at = [&](std::int64_t head, std::int64_t row, std::int64_t col) {
      return whole.values[static_cast<std::size_t>((head * (p + v) + row) * c + col)];
    };
    FloatTensor keys = {{heads, c, p}, {}};
    FloatTensor values = {{heads, v, c}, {}};
    for (std::int64_t head = 0; head < heads; ++head) {
      for (std::int64_t col = 0; col < c; ++col) {
        for (std::int64_t row = 0; row < p; ++row) keys.values.push_back(at(head, row, col));
      }
      for (std::int64_t row = 0; row < v; ++row) {
        for (std::int64_t col = 0; col < c; ++col) values.values.push_back(at(head, p + row, col));
      }
    }
    Add(block + "attn_k_b.weight", keys);
    Add(block + "attn_v_b.weight", values);
  }

  void Add(const std::string& name, const FloatTensor& tensor) {
    if (name == form_.without) return;
    const bool is_matrix = tensor.shape.size() > 1 && !name.ends_with("ffn_gate_inp.weight");
    const Encoding stored = is_matrix ? form_.encoding : Encoding::kF32;
    std::vector<float> values = tensor.values;
    if (is_matrix && form_.through_q8) {
      const std::string packed = Encoded(values, Encoding::kQ8_0);
      kernels::UnpackRow(Encoding::kQ8_0, packed.data(), std::ssize(values), values.data());
    }
    writer_.Tensor(name, GgufTypeOf(stored), tensor.shape, Encoded(values, stored));
  }

  const Form form_;
  const json config_;
  GgufWriter writer_;
  std::map<std::string, std::map<std::int64_t, FloatTensor>> experts_;
};

class GgufDeepseekTest : public testing::Test {
 protected:
  std::filesystem::path Write(const Form& form) const {
    const std::filesystem::path path = dir_.path() / "x.gguf";
    DeepseekFile(form).Write(path);
    return path;
  }
  std::string Refusal(const Form& form) const {
    const ModelOptions options = OptionsFor(Write(form));
    const auto model = LoadModel(options, LocalPlans(options));
    return model.ok() ? "accepted" : std::string(model.status().message());
  }

  const TempDir dir_;
};

std::vector<Drawn> Draw(const ModelOptions& options, std::size_t chunk = 1000) {
  const auto model = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  StepDriver driver(**model);
  driver.Begin(0, Greedy());
  return driver.Generate(0, ReadExpected("deepseek").prompt, 12, chunk, 1);
}

TEST_F(GgufDeepseekTest, HasTheBitsOfTheFolder) {
  const std::vector<Drawn> expected = Draw(OptionsFor(ModelDir("deepseek")));
  ASSERT_EQ(expected.size(), 12U);
  for (const bool parted : {true, false}) {
    EXPECT_EQ(Draw(OptionsFor(Write({.parted = parted}))), expected) << parted;
    EXPECT_EQ(Draw(OptionsFor(Write({.parted = parted}), 2), 5), expected) << parted;
  }
}

TEST_F(GgufDeepseekTest, PackedMatricesHaveTheBitsOfThoseUnpackedAhead) {
  for (const bool parted : {true, false}) {
    const std::vector<Drawn> expected =
        Draw(OptionsFor(Write({.parted = parted, .through_q8 = true})));
    ASSERT_EQ(expected.size(), 12U);
    EXPECT_EQ(Draw(OptionsFor(Write({.parted = parted, .encoding = Encoding::kQ8_0})), 5), expected)
        << parted;
  }
}

TEST_F(GgufDeepseekTest, ReadsTheModelsValues) {
  const auto config = OpenModelFiles(Write({}))->Config();
  ASSERT_TRUE(config.ok()) << config.status();
  const ModelConfig folder = OpenModelFiles(ModelDir("deepseek"))->Config().value();
  EXPECT_EQ(config->architecture, folder.architecture);
  EXPECT_EQ(config->num_layers, 3);
  EXPECT_EQ(config->num_mtp_layers, 1);
  EXPECT_EQ(config->head_dim, folder.head_dim);
  EXPECT_EQ(config->num_kv_heads, folder.num_kv_heads);
  EXPECT_EQ(config->mla->q_lora_rank, 128);
  EXPECT_EQ(config->mla->qk_nope_head_dim, 32);
  EXPECT_EQ(config->mla->v_head_dim, 64);
  EXPECT_EQ(config->mla->score_scale, folder.mla->score_scale);
  EXPECT_EQ(config->moe->n_routed_experts, 16);
  EXPECT_EQ(config->moe->n_group, 4);
  EXPECT_EQ(config->moe->topk_group, 2);
  EXPECT_EQ(config->moe->routed_scaling_factor, 2.5);
  EXPECT_TRUE(config->moe->norm_topk_prob);
  EXPECT_TRUE(config->warnings.empty());
}

TEST_F(GgufDeepseekTest, OlderFilesSayNoGroups) {
  const auto config = OpenModelFiles(Write({.without = "expert_group_count"}))->Config();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->moe->n_group, 1);
  EXPECT_THAT(config->warnings,
              ElementsAre(HasSubstr("deepseek2.expert_group_count is missing: experts are chosen "
                                    "among all")));
}

TEST_F(GgufDeepseekTest, LayersThatPredictFurtherTokensAreLeft) {
  const auto with = [](const std::string& name) {
    return Form{.more = [name](GgufWriter& writer) { writer.Tensor(name, 0, {1}, "0000"); }};
  };
  EXPECT_EQ(Refusal(with("blk.3.nextn.enorm.weight")), "accepted");
  EXPECT_THAT(Refusal(with("blk.4.nextn.enorm.weight")),
              HasSubstr("tensor \"blk.4.nextn.enorm.weight\" has no use in a Deepseek"));
}

TEST_F(GgufDeepseekTest, RefusesByKeyAndTensor) {
  EXPECT_THAT(Refusal({.without = "attention.kv_lora_rank"}),
              HasSubstr("deepseek2.attention.kv_lora_rank is missing"));
  EXPECT_THAT(Refusal({.without = "expert_gating_func"}),
              HasSubstr("deepseek2.expert_gating_func is missing; supported: 2, the sigmoid"));
  EXPECT_THAT(Refusal({.without = "expert_count"}), HasSubstr("deepseek2.expert_count is missing"));
  EXPECT_THAT(Refusal({.without = "blk.1.ffn_up_exps.weight"}),
              HasSubstr("there is no tensor \"blk.1.ffn_up_exps.weight\""));
  EXPECT_THAT(Refusal({.without = "blk.1.attn_k_b.weight"}),
              HasSubstr("there is no tensor \"blk.1.attn_kv_b.weight\""));
  EXPECT_THAT(Refusal({.without = "blk.1.attn_v_b.weight"}),
              HasSubstr("there is no tensor \"blk.1.attn_v_b.weight\""));
  EXPECT_THAT(Refusal({.without = "blk.1.exp_probs_b.bias"}),
              HasSubstr("there is no tensor \"blk.1.exp_probs_b.bias\""));
  EXPECT_THAT(Refusal({.without = "blk.2.ffn_down_exps.weight",
                       .more =
                           [](GgufWriter& writer) {
                             writer.Tensor("blk.2.ffn_down_exps.weight", 1, {4, 128, 128},
                                           std::string(4 * 128 * 128 * 2, '\0'));
                           }}),
              HasSubstr("has shape [4, 128, 128]; the model's values ask for [16, 128, 128]"));
}

TEST(GgufDeepseekNamesTest, ExpertsLieInOneTensor) {
  const GgufPlace place = GgufPlaceOf("model.layers.3.mlp.experts.12.down_proj.weight");
  EXPECT_EQ(place.tensor, "blk.3.ffn_down_exps.weight");
  EXPECT_EQ(place.expert, 12);
  EXPECT_EQ(GgufNameOf("model.layers.3.mlp.gate.e_score_correction_bias"),
            "blk.3.exp_probs_b.bias");
  EXPECT_EQ(GgufNameOf("model.layers.3.mlp.shared_experts.up_proj.weight"),
            "blk.3.ffn_up_shexp.weight");
  EXPECT_EQ(GgufNameOf("model.layers.0.self_attn.kv_a_layernorm.weight"),
            "blk.0.attn_kv_a_norm.weight");
}

}  // namespace
}  // namespace thinkwire::worker::model
