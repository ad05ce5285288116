#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/worker/model/gguf_model.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/step_driver.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/unpack_row.h"
#include "worker/model/load_model.h"

// GGUF files against the Hugging Face folders that they were made of, and packed weights against
// the same weights unpacked ahead.
namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;
using testing::HasSubstr;

constexpr std::int32_t kDraws = 24;  // as many as the expected files hold

ModelOptions OptionsFor(const std::filesystem::path& model, std::int32_t ranks = 1) {
  ModelOptions options;
  options.model_dir = model;
  options.device = "cpu";
  options.cpu_threads = 2;
  options.max_model_len = 128;
  options.max_num_seqs = 4;
  options.max_num_batched_tokens = 128;
  options.tensor_parallel_size = ranks;
  return options;
}

std::unique_ptr<ModelRunner> Load(const ModelOptions& options) {
  auto model = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

std::string Refusal(const ModelOptions& options) {
  const auto model = LoadModel(options, LocalPlans(options));
  return model.ok() ? "accepted" : std::string(model.status().message());
}

std::vector<Drawn> Draw(const ModelOptions& options, const std::vector<std::int32_t>& prompt,
                        std::size_t chunk = 1000) {
  const auto model = Load(options);
  if (model == nullptr) return {};
  StepDriver driver(*model);
  driver.Begin(0, Greedy());
  return driver.Generate(0, prompt, kDraws, chunk, 1);
}

class GgufParity : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(GgufParity, TokensMatchTransformersOnAnyNumberOfRanks) {
  const auto& [name, ranks] = GetParam();
  const TempDir dir;
  WriteGguf(name, Encoding::kF32, dir.path() / "x.gguf");
  const Expected expected = ReadExpected(name);
  const std::vector<Drawn> drawn = Draw(OptionsFor(dir.path() / "x.gguf", ranks), expected.prompt);
  ASSERT_EQ(drawn.size(), expected.greedy.size());
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    EXPECT_EQ(drawn[i].id, expected.greedy[i]) << i;
    EXPECT_NEAR(drawn[i].logprob, expected.greedy_logprobs[i], 2e-4F) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GgufParity,
                         testing::Combine(testing::Values("qwen2", "qwen2-tied", "llama"),
                                          testing::Values(1, 2)),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param);
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name + "_tp" + std::to_string(std::get<1>(info.param));
                         });

TEST(GgufModelTest, Bf16HasTheBitsOfTheFolder) {
  const TempDir dir;
  WriteGguf("qwen2", Encoding::kBf16, dir.path() / "x.gguf");
  const Expected expected = ReadExpected("qwen2");
  EXPECT_EQ(Draw(OptionsFor(dir.path() / "x.gguf"), expected.prompt),
            Draw(OptionsFor(ModelDir("qwen2")), expected.prompt));
}

TEST(GgufModelTest, TellsWhatItKeeps) {
  const TempDir dir;
  WriteGguf("llama", Encoding::kQ8_0, dir.path() / "q.gguf");
  WriteGguf("llama", Encoding::kF16, dir.path() / "f.gguf");
  const auto packed = Load(OptionsFor(dir.path() / "q.gguf"));
  const auto dense = Load(OptionsFor(dir.path() / "f.gguf"));
  ASSERT_TRUE(packed != nullptr && dense != nullptr);
  EXPECT_THAT(packed->info().fingerprint, HasSubstr("llama-q8_0-tp1-cpu-"));
  EXPECT_THAT(dense->info().fingerprint, HasSubstr("llama-bf16-tp1-cpu-"));
  EXPECT_EQ(packed->info().stored_weights, "F32 and Q8_0");
  EXPECT_EQ(dense->info().stored_weights, "F16 and F32");
  // The embedding is bf16 in both.
  EXPECT_LT(packed->info().weight_bytes, dense->info().weight_bytes);
}

TEST(GgufModelTest, QuantizationAsserts) {
  const TempDir dir;
  WriteGguf("llama", Encoding::kQ8_0, dir.path() / "q.gguf");
  ModelOptions options = OptionsFor(dir.path() / "q.gguf");
  options.quantization = "gguf";
  EXPECT_EQ(Refusal(options), "accepted");
  options.quantization = "none";
  EXPECT_EQ(Refusal(options),
            "quantization is none, but the weights are q8_0, which auto and gguf allow");
  options.model_dir = ModelDir("llama");
  EXPECT_EQ(Refusal(options), "accepted");
  options.quantization = "gguf";
  EXPECT_THAT(Refusal(options), HasSubstr("but the weights are bf16, which auto and none allow"));
}

// A model of random packed weights, and the same unpacked ahead.
class PackedModel {
 public:
  PackedModel(const std::string& family, Encoding most, Encoding some, std::int64_t ffn) {
    for (const bool packed : {true, false}) {
      GgufWriter writer;
      AddValuesOf(family, ffn, writer);
      seed_ = 1;
      Vector("output_norm.weight", kHidden, 1, packed, writer);
      Matrix("token_embd.weight", kVocab, kHidden, most, packed, writer);
      Matrix("output.weight", kVocab, kHidden, some, packed, writer);
      for (int layer = 0; layer < 2; ++layer) {
        const std::string name = "blk." + std::to_string(layer) + ".";
        Vector(name + "attn_norm.weight", kHidden, 1, packed, writer);
        Vector(name + "ffn_norm.weight", kHidden, 1, packed, writer);
        Matrix(name + "attn_q.weight", kQuery, kHidden, most, packed, writer);
        Matrix(name + "attn_k.weight", kKv, kHidden, most, packed, writer);
        Matrix(name + "attn_v.weight", kKv, kHidden, some, packed, writer);
        Matrix(name + "attn_output.weight", kHidden, kQuery, most, packed, writer);
        Matrix(name + "ffn_gate.weight", ffn, kHidden, most, packed, writer);
        Matrix(name + "ffn_up.weight", ffn, kHidden, most, packed, writer);
        Matrix(name + "ffn_down.weight", kHidden, ffn, some, packed, writer);
        if (family != "qwen2") continue;
        for (const char* bias : {"attn_q.bias", "attn_k.bias", "attn_v.bias"}) {
          Vector(name + bias, bias[5] == 'q' ? kQuery : kKv, 0.1F, packed, writer);
        }
      }
      WriteFile(packed ? this->packed() : unpacked(), writer.File());
    }
  }

  std::filesystem::path packed() const { return dir_.path() / "packed.gguf"; }
  std::filesystem::path unpacked() const { return dir_.path() / "unpacked.gguf"; }

 private:
  static constexpr std::int64_t kHidden = 256;
  static constexpr std::int64_t kQuery = 512;  // 8 heads of 64
  static constexpr std::int64_t kKv = 128;
  static constexpr std::int64_t kVocab = 90;

  static void AddValuesOf(const std::string& family, std::int64_t ffn, GgufWriter& writer) {
    writer.Text("general.architecture", family);
    const auto add = [&](const char* key, std::int64_t value) {
      writer.U32(family + "." + key, static_cast<std::uint32_t>(value));
    };
    add("context_length", 256);
    add("embedding_length", kHidden);
    add("block_count", 2);
    add("feed_forward_length", ffn);
    add("attention.head_count", 8);
    add("attention.head_count_kv", 2);
    add("attention.key_length", 64);
    add("vocab_size", kVocab);
    writer.F32(family + ".attention.layer_norm_rms_epsilon", 1e-6F);
  }

  void Vector(const std::string& name, std::int64_t size, float value, bool, GgufWriter& writer) {
    const std::vector<float> values(static_cast<std::size_t>(size), value);
    writer.Tensor(name, GgufTypeOf(Encoding::kF32), {size}, Encoded(values, Encoding::kF32));
  }

  void Matrix(const std::string& name, std::int64_t rows, std::int64_t cols, Encoding encoding,
              bool packed, GgufWriter& writer) {
    const std::string blocks = RandomBlocks(encoding, rows * cols, seed_++);
    if (packed) {
      writer.Tensor(name, GgufTypeOf(encoding), {rows, cols}, blocks);
      return;
    }
    std::vector<float> values(static_cast<std::size_t>(rows * cols));
    kernels::UnpackRow(encoding, blocks.data(), rows * cols, values.data());
    writer.Tensor(name, GgufTypeOf(Encoding::kBf16), {rows, cols},
                  Encoded(values, Encoding::kBf16));
  }

  TempDir dir_;
  std::uint32_t seed_ = 1;
};

std::vector<std::int32_t> Prompt() {
  std::vector<std::int32_t> prompt;
  for (std::int32_t i = 0; i < 70; ++i) prompt.push_back(7 * i % 90);
  return prompt;
}

struct PackedForm {
  const char* family;
  Encoding most;
  Encoding some;
};
class PackedModelTest : public testing::TestWithParam<PackedForm> {};

TEST_P(PackedModelTest, HasTheBitsOfTheWeightsUnpackedAhead) {
  const PackedForm& form = GetParam();
  const PackedModel model(form.family, form.most, form.some, 512);
  for (const std::int32_t ranks : {1, 2}) {
    const std::vector<Drawn> expected = Draw(OptionsFor(model.unpacked(), ranks), Prompt());
    ASSERT_EQ(expected.size(), static_cast<std::size_t>(kDraws));
    for (const std::size_t chunk : {1000, 1, 7}) {
      EXPECT_EQ(Draw(OptionsFor(model.packed(), ranks), Prompt(), chunk), expected)
          << ranks << " ranks, chunks of " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, PackedModelTest,
                         testing::Values(PackedForm{"qwen2", Encoding::kQ4K, Encoding::kQ6K},
                                         PackedForm{"llama", Encoding::kQ4K, Encoding::kQ6K},
                                         PackedForm{"llama", Encoding::kQ8_0, Encoding::kQ8_0},
                                         PackedForm{"qwen2", Encoding::kQ5K, Encoding::kQ4_0}),
                         [](const auto& info) {
                           return std::string(info.param.family) + std::to_string(info.index);
                         });

TEST(PackedSplitTest, RanksTakeWholeBlocks) {
  const PackedModel model("llama", Encoding::kQ4K, Encoding::kQ6K, 768);
  EXPECT_EQ(Refusal(OptionsFor(model.packed(), 2)),
            "tensor_parallel_size 2 does not split 8 attention heads, 2 key-value heads and "
            "intermediate_size 768 in whole packed blocks of 256 columns; allowed: 1");
  EXPECT_EQ(Refusal(OptionsFor(model.unpacked(), 2)), "accepted");
}

}  // namespace
}  // namespace thinkwire::worker::model
