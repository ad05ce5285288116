#include "worker/model/checkpoint/quantization_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr char kUp[] = "model.layers.1.mlp.up_proj";
constexpr char kDown[] = "model.layers.1.mlp.down_proj";
constexpr char kOther[] = "model.layers.2.mlp.up_proj";

json Awq() {
  return {{"quant_method", "awq"},
          {"bits", 4},
          {"group_size", 128},
          {"zero_point", true},
          {"version", "GEMM"}};
}

json Gptq() {
  return {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 128}, {"desc_act", false}};
}

json CompressedTensors() {
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"ignore", {"lm_head"}},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}},
              {"input_activations", nullptr},
              {"weights",
               {{"num_bits", 4},
                {"type", "int"},
                {"symmetric", true},
                {"strategy", "group"},
                {"group_size", 128}}}}}}}};
}

json Fp8() {
  return {{"quant_method", "fp8"},
          {"fmt", "e4m3"},
          {"weight_block_size", {128, 128}},
          {"activation_scheme", "dynamic"}};
}

json With(json config, const char* key, const json& value) {
  config[key] = value;
  return config;
}

json WithWeights(const char* key, const json& value) {
  json config = CompressedTensors();
  config["config_groups"]["group_0"]["weights"][key] = value;
  return config;
}

std::string Refusal(const json& config) {
  const auto read = QuantizationConfig::Read(config, "config.json");
  return read.ok() ? "accepted" : std::string(read.status().message());
}

std::optional<GroupScheme> SchemeOf(const json& config, const char* module) {
  const auto read = QuantizationConfig::Read(config, "config.json");
  EXPECT_TRUE(read.ok()) << read.status();
  if (!read.ok()) return std::nullopt;
  const auto scheme = read->SchemeOf(module);
  EXPECT_TRUE(scheme.ok()) << scheme.status();
  return scheme.value_or(std::nullopt);
}

TEST(QuantizationConfigTest, ReadsAwqInBothSpellings) {
  const GroupScheme expected = {.layout = GroupLayout::kAwqGemm, .bits = 4, .group_size = 128};
  EXPECT_EQ(SchemeOf(Awq(), kUp), expected);
  const json own = {{"quant_method", "awq"},
                    {"w_bit", 4},
                    {"q_group_size", 128},
                    {"zero_point", true},
                    {"version", "gemm"}};
  EXPECT_EQ(SchemeOf(own, kUp), expected);
  EXPECT_EQ(SchemeOf(Awq(), "lm_head"), std::nullopt);
}

TEST(QuantizationConfigTest, AwqLeavesOutModulesByAPartOfTheirName) {
  const json config = With(Awq(), "modules_to_not_convert", {"layers.1.mlp"});
  EXPECT_EQ(SchemeOf(config, kUp), std::nullopt);
  EXPECT_NE(SchemeOf(config, kOther), std::nullopt);
}

TEST(QuantizationConfigTest, GptqTakesTheRuleOfZerosFromTheWriter) {
  const auto zeros = [](const json& config) { return SchemeOf(config, kUp)->zeros; };
  EXPECT_EQ(zeros(Gptq()), ZeroRule::kOneLess);
  EXPECT_EQ(zeros(With(Gptq(), "checkpoint_format", "gptq_v2")), ZeroRule::kAsStored);
  const json by_library = With(Gptq(), "meta", {{"quantizer", {"gptqmodel:1.4.0"}}});
  EXPECT_EQ(zeros(by_library), ZeroRule::kWordOneLess);
  // "format" goes before "checkpoint_format".
  EXPECT_EQ(zeros(With(With(Gptq(), "checkpoint_format", "gptq"), "format", "gptq_v2")),
            ZeroRule::kAsStored);
}

TEST(QuantizationConfigTest, GptqMayQuantiseTheHead) {
  EXPECT_EQ(SchemeOf(Gptq(), "lm_head"), std::nullopt);
  EXPECT_NE(SchemeOf(With(Gptq(), "lm_head", true), "lm_head"), std::nullopt);
}

TEST(QuantizationConfigTest, GptqOverridesModules) {
  const json config = With(Gptq(), "dynamic",
                           {{"-:.*\\.1\\..*up", json::object()},
                            {"+:.*\\.2\\.", {{"bits", 8}, {"group_size", 32}, {"sym", false}}},
                            {".*down_proj", {{"desc_act", true}}}});
  EXPECT_EQ(SchemeOf(config, kUp), std::nullopt);
  EXPECT_EQ(SchemeOf(config, kOther)->bits, 8);
  EXPECT_EQ(SchemeOf(config, kOther)->group_size, 32);
  EXPECT_TRUE(SchemeOf(config, kDown)->may_reorder);
  EXPECT_FALSE(SchemeOf(config, "model.layers.3.mlp.up_proj")->may_reorder);
}

TEST(QuantizationConfigTest, APatternIsOfANamesBeginning) {
  const json config = With(Gptq(), "dynamic", {{"-:layers", json::object()}});
  EXPECT_NE(SchemeOf(config, kUp), std::nullopt);
}

TEST(QuantizationConfigTest, PatternsMustAgree) {
  const json config =
      With(Gptq(), "dynamic", {{"-:.*up_proj", json::object()}, {"+:.*\\.1\\.", {{"bits", 8}}}});
  const auto read = QuantizationConfig::Read(config, "config.json");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->SchemeOf(kUp).status().message(),
              AllOf(HasSubstr("two patterns match"), HasSubstr(kUp)));
  EXPECT_TRUE(read->SchemeOf(kOther).ok());
}

TEST(QuantizationConfigTest, ACostlyPatternEnds) {
  const json config = With(Gptq(), "dynamic", {{"-:(([a-z.0-9_]+)+)+$^", json::object()}});
  const auto read = QuantizationConfig::Read(config, "config.json");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->SchemeOf(kUp).status().message(), HasSubstr("fails on a name"));
}

TEST(QuantizationConfigTest, CompressedTensorsNamesItsTargets) {
  const GroupScheme expected = {
      .layout = GroupLayout::kPackQuantized, .bits = 4, .group_size = 128, .has_zeros = false};
  EXPECT_EQ(SchemeOf(CompressedTensors(), kUp), expected);
  EXPECT_EQ(SchemeOf(CompressedTensors(), "lm_head"), std::nullopt);
  EXPECT_NE(SchemeOf(With(CompressedTensors(), "ignore", json::array()), "lm_head"), std::nullopt);
  const json ignoring = With(CompressedTensors(), "ignore", {"re:.*\\.1\\.mlp", kOther});
  EXPECT_EQ(SchemeOf(ignoring, kUp), std::nullopt);
  EXPECT_EQ(SchemeOf(ignoring, kOther), std::nullopt);
  EXPECT_NE(SchemeOf(ignoring, "model.layers.3.mlp.up_proj"), std::nullopt);
  json targeted = CompressedTensors();
  targeted["config_groups"]["group_0"]["targets"] = {"re:.*up_proj$"};
  EXPECT_NE(SchemeOf(targeted, kUp), std::nullopt);
  EXPECT_EQ(SchemeOf(targeted, kDown), std::nullopt);
}

TEST(QuantizationConfigTest, CompressedTensorsMayOrderColumnsByGroup) {
  EXPECT_FALSE(SchemeOf(WithWeights("actorder", "weight"), kUp)->may_reorder);
  EXPECT_TRUE(SchemeOf(WithWeights("actorder", "group"), kUp)->may_reorder);
}

TEST(QuantizationConfigTest, ReadsFp8InBlocks) {
  const GroupScheme expected = {.layout = GroupLayout::kFp8Blocks,
                                .bits = 8,
                                .group_size = 128,
                                .scale_rows = 128,
                                .has_zeros = false};
  EXPECT_EQ(SchemeOf(Fp8(), kUp), expected);
  EXPECT_EQ(SchemeOf(Fp8(), "lm_head"), std::nullopt);
  EXPECT_EQ(SchemeOf(With(Fp8(), "modules_to_not_convert", {"up_proj"}), kUp), std::nullopt);
}

TEST(QuantizationConfigTest, ReadsBytesOfCompressedTensors) {
  json config = With(CompressedTensors(), "format", "float-quantized");
  json& group = config["config_groups"]["group_0"];
  group["input_activations"] = {{"num_bits", 8}, {"type", "float"}, {"dynamic", true}};
  group["weights"] = {{"num_bits", 8}, {"type", "float"}, {"strategy", "tensor"}};
  EXPECT_EQ(SchemeOf(config, kUp)->layout, GroupLayout::kFloatQuantized);
  EXPECT_EQ(SchemeOf(config, kUp)->scale_rows, -1);
  group["weights"]["strategy"] = "block";
  EXPECT_THAT(Refusal(config), HasSubstr("block_structure is missing; supported: [128, 128]"));
  group["weights"]["block_structure"] = {128, 128};
  EXPECT_EQ(SchemeOf(config, kUp)->scale_rows, 128);
  config["format"] = "int-quantized";
  group["weights"] = {{"num_bits", 8}, {"type", "int"}, {"strategy", "channel"}};
  EXPECT_EQ(SchemeOf(config, kUp)->layout, GroupLayout::kIntQuantized);
  EXPECT_EQ(SchemeOf(config, kUp)->group_size, -1);
}

TEST(QuantizationConfigTest, KeysAndValuesMayBeInFp8) {
  const json scheme = {{"num_bits", 8}, {"type", "float"}, {"strategy", "tensor"}};
  const auto is_fp8 = [](const json& object) {
    const auto config = QuantizationConfig::Read(object, "config.json");
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() && config->has_fp8_kv_cache();
  };
  EXPECT_FALSE(is_fp8(CompressedTensors()));
  EXPECT_FALSE(is_fp8(Awq()));
  EXPECT_FALSE(is_fp8(With(CompressedTensors(), "kv_cache_scheme", nullptr)));
  EXPECT_TRUE(is_fp8(With(CompressedTensors(), "kv_cache_scheme", scheme)));
  const auto refusal = [&scheme](const char* key, const json& value) {
    return Refusal(With(CompressedTensors(), "kv_cache_scheme", With(scheme, key, value)));
  };
  EXPECT_THAT(refusal("num_bits", 4), HasSubstr("kv_cache_scheme: num_bits is 4; supported: 8"));
  EXPECT_THAT(refusal("type", "int"), HasSubstr("kv_cache_scheme: type is \"int\""));
  EXPECT_THAT(refusal("type", nullptr), HasSubstr("type is missing; supported: \"float\""));
  EXPECT_THAT(refusal("strategy", "attn_head"), HasSubstr("supported: \"tensor\""));
  EXPECT_THAT(refusal("symmetric", false), HasSubstr("symmetric is false; supported: true"));
  EXPECT_THAT(refusal("dynamic", true), HasSubstr("dynamic is true; supported: false"));
  EXPECT_THAT(Refusal(With(CompressedTensors(), "kv_cache_scheme", "fp8")),
              HasSubstr("kv_cache_scheme: not a JSON object"));
}

TEST(QuantizationConfigTest, OfBitsandbytesTheTensorsSayWhatIsPacked) {
  const json nf4 = {{"quant_method", "bitsandbytes"},
                    {"_load_in_4bit", true},
                    {"_load_in_8bit", false},
                    {"bnb_4bit_compute_dtype", "bfloat16"},
                    {"bnb_4bit_quant_storage", "uint8"},
                    {"bnb_4bit_quant_type", "nf4"},
                    {"bnb_4bit_use_double_quant", true},
                    {"llm_int8_enable_fp32_cpu_offload", false},
                    {"llm_int8_has_fp16_weight", false},
                    {"llm_int8_skip_modules", {"lm_head", "multi_modal_projector"}},
                    {"llm_int8_threshold", 6.0},
                    {"load_in_4bit", true},
                    {"load_in_8bit", false}};
  EXPECT_FALSE(SchemeOf(nf4, kUp).has_value());
  EXPECT_THAT(Refusal(With(nf4, "load_in_8bit", true)),
              HasSubstr("load_in_8bit is true; supported: false"));
  EXPECT_THAT(Refusal(With(nf4, "load_in_4bit", false)), HasSubstr("supported: true"));
  EXPECT_THAT(Refusal(With(nf4, "bnb_4bit_quant_type", "fp4")),
              HasSubstr("bnb_4bit_quant_type is \"fp4\"; supported: nf4"));
  EXPECT_THAT(Refusal(With(nf4, "bnb_4bit_quant_storage", "bfloat16")),
              HasSubstr("supported: uint8"));
  EXPECT_THAT(Refusal(With(nf4, "llm_int8_skip_modules", 3)), HasSubstr("a list of names"));
}

TEST(QuantizationConfigTest, RefusesWhatIsNotHonoured) {
  EXPECT_THAT(Refusal({{"quant_method", "hqq"}}),
              AllOf(HasSubstr("config.json: quantization_config: quant_method is \"hqq\""),
                    HasSubstr("supported: awq, gptq, compressed-tensors, fp8, bitsandbytes")));
  EXPECT_THAT(Refusal(json::array()), HasSubstr("not a JSON object"));
  EXPECT_THAT(Refusal(With(Awq(), "version", "gemv")), HasSubstr("supported: gemm"));
  EXPECT_THAT(Refusal(With(Awq(), "bits", 3)), HasSubstr("bits is 3; supported: 4"));
  EXPECT_THAT(Refusal(With(Awq(), "group_size", 48)), HasSubstr("-1 or a multiple of 32"));
  EXPECT_THAT(Refusal(With(Awq(), "group_size", nullptr)), HasSubstr("-1 or a multiple of 32"));
  EXPECT_THAT(Refusal(With(Awq(), "zero_point", false)), HasSubstr("zero_point is false"));
  EXPECT_THAT(Refusal(With(Awq(), "modules_to_not_convert", "lm_head")),
              HasSubstr("a list of names"));
  EXPECT_THAT(Refusal(With(Gptq(), "bits", 3)), HasSubstr("bits is 3; supported: 4, 8"));
  EXPECT_THAT(Refusal(With(Gptq(), "bits", nullptr)), HasSubstr("bits is missing"));
  EXPECT_THAT(Refusal(With(Gptq(), "format", "gptq_p")), HasSubstr("supported: gptq, gptq_v2"));
  EXPECT_THAT(Refusal(With(Gptq(), "checkpoint_format", "marlin")), HasSubstr("marlin"));
  EXPECT_THAT(Refusal(With(Gptq(), "pack_dtype", "int64")), HasSubstr("supported: int32"));
  EXPECT_THAT(Refusal(With(Gptq(), "dynamic", {{"+:(", {{"bits", 8}}}})),
              AllOf(HasSubstr("dynamic"), HasSubstr("does not compile")));
  EXPECT_THAT(Refusal(With(Gptq(), "dynamic", {{"+:.*", {{"bits", 2}}}})),
              AllOf(HasSubstr("dynamic of +:.*"), HasSubstr("bits is 2")));
  EXPECT_THAT(Refusal(With(CompressedTensors(), "format", "marlin-24")),
              HasSubstr("supported: pack-quantized, int-quantized, float-quantized"));
  EXPECT_THAT(Refusal(With(CompressedTensors(), "sparsity_config", {{"format", "sparse-24"}})),
              HasSubstr("sparsity_config"));
  EXPECT_THAT(Refusal(With(CompressedTensors(), "config_groups", nullptr)),
              HasSubstr("config_groups is missing"));
  EXPECT_THAT(Refusal(WithWeights("num_bits", 2)), HasSubstr("num_bits is 2; supported: 4, 8"));
  EXPECT_THAT(Refusal(WithWeights("actorder", "random")), HasSubstr("actorder"));
  EXPECT_THAT(Refusal(WithWeights("strategy", "block")), HasSubstr("supported: group, channel"));
  EXPECT_THAT(Refusal(WithWeights("group_size", -1)), HasSubstr("as strategy is group"));
  json config = CompressedTensors();
  config["config_groups"]["group_0"]["targets"] = {"Embedding"};
  EXPECT_THAT(Refusal(config), HasSubstr("targets is [\"Embedding\"]"));
  config = CompressedTensors();
  config["config_groups"]["group_0"]["input_activations"] = {{"num_bits", 8}};
  EXPECT_THAT(Refusal(config), HasSubstr("input_activations: dynamic is missing; supported: true"));
  config = With(CompressedTensors(), "format", "int-quantized");
  EXPECT_THAT(Refusal(config), HasSubstr("num_bits is 4; supported: 8"));
  EXPECT_THAT(Refusal(With(Fp8(), "weight_block_size", {64, 128})),
              HasSubstr("weight_block_size is [64,128]; supported: [128, 128]"));
  EXPECT_THAT(Refusal(With(Fp8(), "activation_scheme", "static")), HasSubstr("supported: dynamic"));
  EXPECT_THAT(Refusal(With(Fp8(), "fmt", "e5m2")), HasSubstr("supported: e4m3"));
}

}  // namespace
}  // namespace thinkwire::worker::model
