#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <variant>

#include "tests/worker/model/gguf_model.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/checkpoint/gguf_config.h"
#include "worker/model/checkpoint/gguf_names.h"
#include "worker/model/checkpoint/gguf_shards.h"
#include "worker/model/checkpoint/model_files.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;
using testing::ElementsAre;
using testing::HasSubstr;

using W = GgufWriter;

// Values of a small Llama without one of them, which `change` may write otherwise.
GgufWriter Values(const std::string& without = "", const std::function<void(W&)>& change = {}) {
  W writer;
  const auto add = [&](const std::string& key, const std::function<void()>& write) {
    if (key != without) write();
  };
  const auto size = [&](const std::string& key, std::uint32_t value) {
    add(key, [&] { writer.U32(key, value); });
  };
  add("general.architecture", [&] { writer.Text("general.architecture", "llama"); });
  size("llama.context_length", 128);
  size("llama.embedding_length", 64);
  size("llama.block_count", 1);
  size("llama.feed_forward_length", 96);
  size("llama.attention.head_count", 4);
  size("llama.attention.head_count_kv", 2);
  size("llama.vocab_size", 50);
  size("tokenizer.ggml.eos_token_id", 3);
  const std::string eps = "llama.attention.layer_norm_rms_epsilon";
  add(eps, [&] { writer.F32(eps, 1e-5F); });
  if (change) change(writer);
  return writer;
}

std::string Shape(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) elements *= size;
  return std::string(static_cast<std::size_t>(4 * elements), '\0');
}

// The tensors of that Llama, zeros in F32, but for `without`.
void AddZeros(W& writer, const std::string& without = "") {
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    if (name != without) writer.Tensor(name, 0, shape, Shape(shape));
  };
  add("token_embd.weight", {50, 64});
  add("output.weight", {50, 64});
  add("output_norm.weight", {64});
  add("blk.0.attn_norm.weight", {64});
  add("blk.0.attn_q.weight", {64, 64});
  add("blk.0.attn_k.weight", {32, 64});
  add("blk.0.attn_v.weight", {32, 64});
  add("blk.0.attn_output.weight", {64, 64});
  add("blk.0.ffn_norm.weight", {64});
  add("blk.0.ffn_gate.weight", {96, 64});
  add("blk.0.ffn_up.weight", {96, 64});
  add("blk.0.ffn_down.weight", {64, 96});
}

class GgufFilesTest : public testing::Test {
 protected:
  std::filesystem::path Write(const W& writer, const std::string& name = "x.gguf") const {
    WriteFile(dir_.path() / name, writer.File());
    return dir_.path() / name;
  }
  absl::StatusOr<ModelConfig> Config(const W& writer) const {
    return OpenModelFiles(Write(writer))->Config();
  }
  std::string ConfigRefusal(const W& writer) const {
    const auto config = Config(writer);
    return config.ok() ? "accepted" : std::string(config.status().message());
  }
  std::string Refusal(const std::filesystem::path& path) const {
    const auto files = OpenModelFiles(path);
    const auto config = files->Config();
    if (!config.ok()) return std::string(config.status().message());
    ModelPlan plan = MakePlan(*config);
    const auto weights = files->Weights(plan);
    return weights.ok() ? "accepted" : std::string(weights.status().message());
  }
  std::string Refusal(const W& writer) const { return Refusal(Write(writer)); }

  const TempDir dir_;
};

TEST_F(GgufFilesTest, ReadsTheModelsValues) {
  const auto config = Config(Values("", [](W& writer) {
    writer.U32("tokenizer.ggml.eot_token_id", 1).F32("llama.rope.freq_base", 5e5F);
    writer.Tensor("output.weight", 0, {1}, "0000");
  }));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "LlamaForCausalLM");
  EXPECT_EQ(config->hidden_size, 64);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->vocab_size, 50);
  EXPECT_EQ(config->rope.theta, 5e5);
  EXPECT_EQ(config->rms_norm_eps, 1e-5F);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_THAT(config->end_of_sequence_ids, ElementsAre(1, 3));
}

TEST_F(GgufFilesTest, WithoutOutputTheHeadIsTheEmbedding) {
  const auto config = Config(Values());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->tie_word_embeddings);
}

TEST_F(GgufFilesTest, TheVocabularyIsAsLongAsItsTokens) {
  const auto config = Config(Values("llama.vocab_size", [](W& writer) {
    writer.Strings("tokenizer.ggml.tokens", {"a", "b", "c", "d"});
  }));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->vocab_size, 4);
  EXPECT_THAT(ConfigRefusal(Values("llama.vocab_size")),
              HasSubstr("tokenizer.ggml.tokens is missing; supported: an array of 1 to"));
}

TEST_F(GgufFilesTest, RefusesValuesByKey) {
  const auto with = [](const char* key, const std::function<void(W&)>& write) {
    return Values(key, write);
  };
  EXPECT_THAT(ConfigRefusal(Values("general.architecture")),
              HasSubstr("general.architecture is missing; supported: qwen2, llama, deepseek2"));
  EXPECT_THAT(ConfigRefusal(with("general.architecture",
                                 [](W& w) { w.Text("general.architecture", "gemma3"); })),
              HasSubstr("general.architecture is \"gemma3\""));
  EXPECT_THAT(ConfigRefusal(Values("llama.block_count")),
              HasSubstr("llama.block_count is missing; supported: an integer from 1 to 1024"));
  EXPECT_THAT(ConfigRefusal(with("llama.attention.head_count",
                                 [](W& w) {
                                   w.I32s("llama.attention.head_count", {4, 4});
                                 })),
              HasSubstr("llama.attention.head_count is \"array of 2 i32\""));
  EXPECT_THAT(ConfigRefusal(with("llama.attention.head_count_kv",
                                 [](W& w) { w.U32("llama.attention.head_count_kv", 3); })),
              HasSubstr("supported: a divisor of attention.head_count 4"));
  EXPECT_THAT(ConfigRefusal(Values("llama.attention.layer_norm_rms_epsilon")),
              HasSubstr("layer_norm_rms_epsilon is missing"));
  EXPECT_THAT(ConfigRefusal(with("tokenizer.ggml.eos_token_id",
                                 [](W& w) { w.U32("tokenizer.ggml.eos_token_id", 50); })),
              HasSubstr("eos_token_id is 50; supported: an integer from 0 to 49"));
  EXPECT_THAT(ConfigRefusal(Values("", [](W& w) { w.U32("llama.rope.dimension_count", 8); })),
              HasSubstr("supported: the dimensions of a head, 16"));
  EXPECT_THAT(ConfigRefusal(Values("", [](W& w) { w.U32("llama.expert_count", 8); })),
              HasSubstr("llama.expert_count is 8; supported: 0"));
  EXPECT_THAT(ConfigRefusal(Values("", [](W& w) { w.Text("general.type", "adapter"); })),
              HasSubstr("general.type is \"adapter\"; supported: model"));
}

TEST_F(GgufFilesTest, ReadsAndRefusesScaledRope) {
  const auto linear = Config(Values("", [](W& writer) {
    writer.Text("llama.rope.scaling.type", "linear").F32("llama.rope.scaling.factor", 4);
  }));
  ASSERT_TRUE(linear.ok()) << linear.status();
  EXPECT_EQ(std::get<LinearRopeScaling>(linear->rope.scaling).factor, 4);
  EXPECT_THAT(
      ConfigRefusal(Values("", [](W& w) { w.Text("llama.rope.scaling.type", "longrope"); })),
      HasSubstr(
          "rope.scaling.type is \"longrope\"; supported: none, linear, yarn, and rope_freqs"));
  const auto factors = [](const std::vector<float>& values) {
    return Values("", [&](W& writer) {
      writer.Tensor("rope_freqs.weight", 0, {static_cast<std::int64_t>(values.size())},
                    Encoded(values, Encoding::kF32));
    });
  };
  const auto divided = Config(factors({1, 1, 1, 1, 1, 2, 4, 8}));
  ASSERT_TRUE(divided.ok()) << divided.status();
  EXPECT_THAT(std::get<DividedRopeScaling>(divided->rope.scaling).divisors,
              ElementsAre(1, 1, 1, 1, 1, 2, 4, 8));
  EXPECT_THAT(ConfigRefusal(factors({1, 1})),
              HasSubstr("tensor \"rope_freqs.weight\" is not F32 of shape [8]"));
  EXPECT_THAT(ConfigRefusal(factors({1, 1, 1, 1, 1, 1, 1, 0})), HasSubstr("divides by 0"));
  EXPECT_THAT(ConfigRefusal(factors({1, 1, 1, 1, 1, 1, 1, std::nanf("")})),
              HasSubstr("divides by nan"));
}

TEST_F(GgufFilesTest, ReadsYarn) {
  const auto yarn_with = [](const std::function<void(W&)>& more) {
    return Values("", [&](W& writer) {
      writer.Text("llama.rope.scaling.type", "yarn").F32("llama.rope.scaling.factor", 4);
      more(writer);
    });
  };
  const auto plain = Config(yarn_with([](W&) {}));
  ASSERT_TRUE(plain.ok()) << plain.status();
  const auto& unset = std::get<YarnRopeScaling>(plain->rope.scaling);
  EXPECT_EQ(unset.factor, 4);
  EXPECT_EQ(unset.original_max_position_embeddings, 128);
  EXPECT_DOUBLE_EQ(unset.attention_factor, 0.1 * std::log(4.0) + 1);
  EXPECT_EQ(unset.beta_fast, 32);
  EXPECT_EQ(unset.beta_slow, 1);
  EXPECT_TRUE(unset.truncate);
  const auto full = Config(yarn_with([](W& writer) {
    writer.U32("llama.rope.scaling.original_context_length", 32);
    writer.F32("llama.rope.scaling.attn_factor", 0.5F);
    writer.F32("llama.rope.scaling.yarn_beta_fast", 16).F32("llama.rope.scaling.yarn_beta_slow", 2);
  }));
  ASSERT_TRUE(full.ok()) << full.status();
  const auto& set = std::get<YarnRopeScaling>(full->rope.scaling);
  EXPECT_EQ(set.original_max_position_embeddings, 32);
  EXPECT_DOUBLE_EQ(set.attention_factor, 0.5 * unset.attention_factor);
  EXPECT_EQ(set.beta_fast, 16);
  EXPECT_EQ(set.beta_slow, 2);
}

TEST_F(GgufFilesTest, RefusesYarnThatIsNotThePapers) {
  const auto refusal = [this](const char* key, float value) {
    return ConfigRefusal(Values("", [&](W& writer) {
      writer.Text("llama.rope.scaling.type", "yarn").F32("llama.rope.scaling.factor", 4);
      writer.F32(key, value);
    }));
  };
  EXPECT_THAT(refusal("llama.rope.scaling.yarn_ext_factor", 0.5F),
              HasSubstr("yarn_ext_factor is 0.5; supported: 1"));
  EXPECT_THAT(refusal("llama.rope.scaling.yarn_attn_factor", 2),
              HasSubstr("yarn_attn_factor is 2.0; supported: 1"));
  EXPECT_THAT(refusal("llama.rope.scaling.yarn_beta_slow", 0), HasSubstr("yarn_beta_slow is 0"));
  EXPECT_THAT(ConfigRefusal(Values("", [](W& w) { w.Text("llama.rope.scaling.type", "yarn"); })),
              HasSubstr("llama.rope.scaling.factor is missing"));
}

TEST_F(GgufFilesTest, ReadsSamplingDefaults) {
  const auto path = Write(Values("", [](W& writer) {
    writer.F32("general.sampling.temp", 0.5F).F32("general.sampling.top_p", 0.75F);
    writer.Raw("general.sampling.top_k", GgufType::kI32, W::Bytes(std::int32_t{20}));
  }));
  const auto sampling = OpenModelFiles(path)->DefaultSampling();
  ASSERT_TRUE(sampling.ok()) << sampling.status();
  EXPECT_EQ(sampling->temperature, 0.5F);
  EXPECT_EQ(sampling->top_p, 0.75F);
  EXPECT_EQ(sampling->top_k, 20);
  EXPECT_FALSE(sampling->min_p.has_value());
}

TEST_F(GgufFilesTest, TakesWhatIsComplete) {
  W writer = Values();
  AddZeros(writer);
  EXPECT_EQ(Refusal(writer), "accepted");
}

TEST_F(GgufFilesTest, RefusesTensorsByName) {
  const auto changed = [](const std::string& name, std::uint32_t type,
                          const std::vector<std::int64_t>& shape, const std::string& data) {
    W writer = Values();
    AddZeros(writer, name);
    return writer.Tensor(name, type, shape, data);
  };
  W absent = Values();
  AddZeros(absent, "blk.0.attn_k.weight");
  EXPECT_THAT(Refusal(absent), HasSubstr("there is no tensor \"blk.0.attn_k.weight\""));
  EXPECT_THAT(Refusal(changed("blk.0.ffn_up.weight", 0, {64, 96}, Shape({64, 96}))),
              HasSubstr("has shape [64, 96]; the model's values ask for [96, 64]"));
  EXPECT_THAT(Refusal(changed("output_norm.weight", 8, {64}, std::string(68, '\0'))),
              HasSubstr("has type Q8_0; supported: F32, F16, BF16"));
  EXPECT_THAT(Refusal(changed("blk.0.attn_q.weight", 24, {64, 64}, std::string(4096, '\0'))),
              HasSubstr("has type I8; supported: F32, F16, BF16, Q8_0, Q4_0"));
  std::string infinite(34 * 128, '\0');
  infinite[34 * 100 + 1] = '\x7c';
  EXPECT_THAT(Refusal(changed("blk.0.attn_q.weight", 8, {64, 64}, infinite)),
              HasSubstr("tensor \"blk.0.attn_q.weight\" holds a NaN or an infinity"));
  W more = Values();
  AddZeros(more);
  more.Tensor("blk.0.attn_q.bias", 0, {64}, Shape({64}));
  EXPECT_THAT(Refusal(more), HasSubstr("tensor \"blk.0.attn_q.bias\" has no use in a Llama"));
}

TEST_F(GgufFilesTest, WarnsOfTensorsBesideTheModels) {
  W writer = Values();
  AddZeros(writer);
  writer.Tensor("cls.weight", 0, {1}, "0000");
  const auto files = OpenModelFiles(Write(writer));
  ModelPlan plan = MakePlan(*files->Config());
  ASSERT_TRUE(files->Weights(plan).ok());
  EXPECT_THAT(plan.config.warnings, ElementsAre(HasSubstr("has no use for 1 tensors: cls.weight")));
}

class SplitTest : public GgufFilesTest {
 protected:
  static W Place(W writer, std::uint16_t number, std::uint16_t count) {
    writer.Raw("split.no", GgufType::kU16, W::Bytes(number));
    return writer.Raw("split.count", GgufType::kU16, W::Bytes(count));
  }
  // Values in the first, tensors in the second, as `gguf-split --no-tensor-first-split` does.
  std::filesystem::path WriteTwo(std::int32_t told = 12) const {
    W first = Place(Values(), 0, 2);
    first.Raw("split.tensors.count", GgufType::kI32, W::Bytes(told));
    W second = Place(W(), 1, 2);
    AddZeros(second);
    Write(second, "m-00002-of-00002.gguf");
    return Write(first, "m-00001-of-00002.gguf");
  }
};

TEST_F(SplitTest, SiblingsAreRead) { EXPECT_EQ(Refusal(WriteTwo()), "accepted"); }

TEST_F(SplitTest, RefusesWhatDoesNotFitTogether) {
  EXPECT_THAT(Refusal(WriteTwo(13)), HasSubstr("split.tensors.count is 13, but 12 tensors"));
  const std::filesystem::path first = WriteTwo();
  const std::filesystem::path second = dir_.path() / "m-00002-of-00002.gguf";
  EXPECT_THAT(Refusal(second), HasSubstr("is part 2 of 2; --model takes m-00001-of-00002.gguf"));
  std::filesystem::rename(first, dir_.path() / "m.gguf");
  EXPECT_THAT(Refusal(dir_.path() / "m.gguf"), HasSubstr("is one of 2 files (split.count)"));
  std::filesystem::rename(dir_.path() / "m.gguf", first);
  std::filesystem::remove(second);
  EXPECT_THAT(Refusal(first), HasSubstr("m-00002-of-00002.gguf"));
  Write(Place(W(), 0, 2), "m-00002-of-00002.gguf");
  EXPECT_THAT(Refusal(first), HasSubstr("split.no and split.count are 0 and 2; as its name says "
                                        "they are 1 and 2"));
  W twice = Place(W(), 1, 2);
  AddZeros(twice);
  Write(twice, "m-00002-of-00002.gguf");
  W again = Place(Values(), 0, 2);
  again.Tensor("output_norm.weight", 0, {64}, Shape({64}));
  EXPECT_THAT(Refusal(Write(again, "m-00001-of-00002.gguf")), HasSubstr("is in "));
}

TEST_F(GgufFilesTest, AFileIsChosenByWhatItIs) {
  EXPECT_THAT(Refusal(dir_.path() / "none.gguf"), HasSubstr("none.gguf"));
  WriteFile(dir_.path() / "blob", Values().File());
  EXPECT_THAT(Refusal(dir_.path() / "blob"), HasSubstr("there is no tensor"));
  EXPECT_THAT(Refusal(dir_.path()), HasSubstr("config.json"));
}

TEST(GgufNamesTest, PermutedRowsAlternateTheHalvesOfAHead) {
  EXPECT_EQ(GgufNameOf("model.layers.12.self_attn.q_proj.bias"), "blk.12.attn_q.bias");
  EXPECT_EQ(GgufNameOf("lm_head.weight"), "output.weight");
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 8; row < 16; ++row) rows.push_back(PermutedRow(row, 8));
  EXPECT_THAT(rows, ElementsAre(8, 10, 12, 14, 9, 11, 13, 15));
}

TEST(GgufPathTest, NamesOfParts) {
  EXPECT_EQ(GgufStem("/a/DeepSeek-Q4_K_M.gguf"), "DeepSeek-Q4_K_M");
  EXPECT_EQ(GgufStem("b/x-00001-of-00003.gguf"), "x");
  EXPECT_EQ(GgufStem("sha256-1234"), "sha256-1234");
  const auto part = PartOfName("b/x-00002-of-00003.gguf");
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->number, 2);
  EXPECT_EQ(NameOfPart(*part, 1), "x-00001-of-00003.gguf");
  EXPECT_FALSE(PartOfName("x-0001a-of-00003.gguf").has_value());
  EXPECT_FALSE(PartOfName("-00001-of-00003.gguf").has_value());
  EXPECT_FALSE(PartOfName("x-00001-of-00003.bin").has_value());
}

}  // namespace
}  // namespace thinkwire::worker::model
