#include "tests/worker/model/quantized_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "worker/model/load_model.h"

// Quantised folders against folders of the BF16 weights that they stand for.
namespace thinkwire::worker::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::int32_t kDraws = 8;
constexpr char kTinyModel[] = "deploy/models/tiny-r1";  // 256 wide, four heads of 128, ffn 640

absl::StatusOr<std::unique_ptr<ModelRunner>> Load(const ModelOptions& options) {
  return LoadModel(options, LocalPlans(options));
}

std::string Refusal(const ModelOptions& options) {
  const auto model = Load(options);
  return model.ok() ? "accepted" : std::string(model.status().message());
}

std::vector<std::int32_t> Prompt() {
  std::vector<std::int32_t> prompt;
  for (std::int32_t i = 0; i < 40; ++i) prompt.push_back(7 * i % 90);
  return prompt;
}

std::vector<Drawn> Draw(const ModelOptions& options, std::size_t chunk = 1000) {
  const auto model = Load(options);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  StepDriver driver(**model);
  driver.Begin(0, Greedy());
  return driver.Generate(0, Prompt(), kDraws, chunk, 1);
}

// A model in both forms.
class Twins {
 public:
  explicit Twins(const std::filesystem::path& from, const QuantizedForm& form,
                 const std::string& kept = "nothing") {
    WriteQuantized(from, form, packed(), dense(), kept);
  }
  std::filesystem::path packed() const { return dir_.path() / "packed"; }
  std::filesystem::path dense() const { return dir_.path() / "dense"; }

  void ChangeConfig(const std::function<void(nlohmann::json&)>& change) const {
    auto config = nlohmann::json::parse(ReadFile(packed() / "config.json"));
    change(config);
    WriteFile(packed() / "config.json", config.dump());
  }

  void ChangeTensors(const std::function<void(nlohmann::json&, std::string&)>& change) const {
    SafetensorsParts parts = SplitSafetensors(ReadFile(packed() / "model.safetensors"));
    change(parts.header, parts.data);
    WriteFile(packed() / "model.safetensors", Safetensors(parts.header, parts.data));
  }

 private:
  TempDir dir_;
};

class QuantizedModelTest : public testing::TestWithParam<QuantizedForm> {};

TEST_P(QuantizedModelTest, HasTheBitsOfTheWeightsUnpackedAhead) {
  const Twins twins(kTinyModel, GetParam());
  const std::vector<Drawn> expected = Draw(OptionsFor(twins.dense()));
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kDraws));
  EXPECT_EQ(Draw(OptionsFor(twins.packed())), expected);
  EXPECT_EQ(Draw(OptionsFor(twins.packed()), 7), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, QuantizedModelTest,
    testing::Values(QuantizedForm{"awq", 4, 128}, QuantizedForm{"awq", 4, 32},
                    QuantizedForm{"gptq", 4, 64}, QuantizedForm{"gptq", 8, 128},
                    QuantizedForm{"gptq", 4, 128, false, true},
                    QuantizedForm{"compressed-tensors", 4, 128},
                    QuantizedForm{"compressed-tensors", 8, -1}, QuantizedForm{"int-quantized"},
                    QuantizedForm{"float-quantized"}, QuantizedForm{"fp8"}, QuantizedForm{"nf4"}),
    [](const auto& info) {
      std::string name = info.param.method + "_" + std::to_string(info.index);
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(QuantizedSplitTest, RanksTakeWholeGroups) {
  const Twins fine(kTinyModel, {"awq", 4, 64});
  EXPECT_EQ(Draw(OptionsFor(fine.packed(), 2)), Draw(OptionsFor(fine.dense(), 2)));
  const Twins coarse(kTinyModel, {"awq", 4, 128});
  EXPECT_EQ(Refusal(OptionsFor(coarse.packed(), 2)),
            "tensor_parallel_size 2 does not split 4 attention heads, 2 key-value heads and "
            "intermediate_size 640 in whole packed blocks of 128 columns; allowed: 1");
}

// Another order of columns is another order of sums: near, not equal.
TEST(QuantizedOrderTest, ColumnsByGroupComputeTheSameModel) {
  const Twins twins(kTinyModel, {"gptq", 4, 64, true});
  const std::vector<Drawn> dense = Draw(OptionsFor(twins.dense()));
  const std::vector<Drawn> packed = Draw(OptionsFor(twins.packed()));
  ASSERT_EQ(packed.size(), dense.size());
  for (std::size_t i = 0; i < packed.size(); ++i) {
    EXPECT_EQ(packed[i].id, dense[i].id) << i;
    EXPECT_NEAR(packed[i].logprob, dense[i].logprob, 2e-3F) << i;
  }
  EXPECT_EQ(Draw(OptionsFor(twins.packed()), 7), packed);
  EXPECT_THAT(Refusal(OptionsFor(twins.packed(), 2)), HasSubstr("allowed: 1"));
}

TEST(QuantizedRulesTest, ModulesThatAreLeftOutStayDense) {
  for (const char* method : {"awq", "gptq", "compressed-tensors"}) {
    const Twins twins(kTinyModel, {method, 4, 128}, "layers.2.mlp.up_proj");
    EXPECT_EQ(Draw(OptionsFor(twins.packed())), Draw(OptionsFor(twins.dense()))) << method;
  }
}

TEST(QuantizedRulesTest, RulesAndFilesMustAgree) {
  const Twins twins(kTinyModel, {"awq", 4, 128}, "layers.2.mlp.up_proj");
  twins.ChangeConfig([](auto& config) {
    config["quantization_config"]["modules_to_not_convert"] = nlohmann::json::array();
  });
  EXPECT_THAT(Refusal(OptionsFor(twins.packed())),
              HasSubstr("no tensor \"model.layers.2.mlp.up_proj.qweight\""));
  twins.ChangeConfig([](auto& config) { config.erase("quantization_config"); });
  EXPECT_THAT(Refusal(OptionsFor(twins.packed())),
              AllOf(HasSubstr(".qweight\" is packed"), HasSubstr("quantization_config")));
}

// Parts of a stack read one input, gathered once.
TEST(QuantizedOrderTest, AStackHasOneOrder) {
  const Twins twins(kTinyModel, {"gptq", 4, 64, true});
  twins.ChangeTensors([](nlohmann::json& header, std::string& data) {
    const auto begin =
        header.at("model.layers.3.self_attn.v_proj.g_idx").at("data_offsets")[0].get<std::size_t>();
    std::swap_ranges(data.begin() + static_cast<std::ptrdiff_t>(begin),
                     data.begin() + static_cast<std::ptrdiff_t>(begin + 4),
                     data.begin() + static_cast<std::ptrdiff_t>(begin + 4));
  });
  EXPECT_THAT(Refusal(OptionsFor(twins.packed())),
              AllOf(HasSubstr("v_proj.qweight\" has its columns in another order"),
                    HasSubstr("q_proj.weight"), HasSubstr("supported: one order")));
}

// Some quantisers write a bias for every matrix.
TEST(QuantizedBiasTest, ZerosAreNone) {
  for (const char bias : {'\0', '\1'}) {
    const Twins twins(kTinyModel, {"gptq", 4, 128});
    twins.ChangeTensors([bias](nlohmann::json& header, std::string& data) {
      header["model.layers.0.mlp.down_proj.bias"] = {
          {"dtype", "F16"}, {"shape", {256}}, {"data_offsets", {data.size(), data.size() + 512}}};
      data += std::string(511, '\0') + bias;
    });
    const auto model = Load(OptionsFor(twins.packed()));
    if (bias == '\0') {
      ASSERT_TRUE(model.ok()) << model.status();
      EXPECT_TRUE((*model)->info().warnings.empty());
    } else {
      EXPECT_THAT(std::string(model.status().message()),
                  HasSubstr("down_proj.bias\" is not all zeros"));
    }
  }
}

TEST(QuantizedNameTest, TellsItself) {
  const Twins twins(kTinyModel, {"awq", 4, 128});
  const auto packed = Load(OptionsFor(twins.packed()));
  const auto dense = Load(OptionsFor(twins.dense()));
  ASSERT_TRUE(packed.ok() && dense.ok());
  EXPECT_THAT((*packed)->info().fingerprint, StartsWith("qwen2-bf16+int4-tp1-cpu"));
  EXPECT_EQ((*packed)->info().stored_weights, "BF16 and F16 and I32");
  EXPECT_TRUE((*packed)->info().warnings.empty());
}

TEST(QuantizedNameTest, QuantizationAssertsTheMethod) {
  const Twins twins(kTinyModel, {"awq", 4, 128});
  ModelOptions options = OptionsFor(twins.packed());
  options.quantization = "awq";
  EXPECT_EQ(Refusal(options), "accepted");
  options.quantization = "gptq";
  EXPECT_EQ(Refusal(options),
            "quantization is gptq, but the weights are bf16+int4, which auto and awq allow");
}

}  // namespace
}  // namespace thinkwire::worker::model
