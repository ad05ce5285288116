#include "worker/model/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/worker/model/model_files.h"
#include "worker/model/checkpoint/checkpoint_weights.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr char kIndex[] = "model.safetensors.index.json";
constexpr char kShard2[] = "model-00002-of-00004.safetensors";

// What opening says of a copy of model `name` after `damage`.
std::string Refusal(const std::string& name,
                    const std::function<void(const std::filesystem::path&)>& damage) {
  const TempDir dir;
  CopyModel(name, dir.path());
  damage(dir.path());
  const auto config = LoadModelConfig(dir.path());
  if (!config.ok()) return std::string(config.status().message());
  const auto weights = CheckpointWeights::Open(dir.path(), MakePlan(*config));
  return weights.ok() ? "accepted" : std::string(weights.status().message());
}

// The same of the single-file model with its header changed.
std::string HeaderRefusal(const std::function<void(json&, std::string&)>& change) {
  return Refusal("qwen2", [&](const auto& dir) {
    SafetensorsParts parts = SplitSafetensors(ReadFile(dir / "model.safetensors"));
    change(parts.header, parts.data);
    WriteFile(dir / "model.safetensors", Safetensors(parts.header, parts.data));
  });
}

std::string IndexRefusal(const std::function<void(json&)>& change) {
  return Refusal("llama", [&](const auto& dir) {
    json index = json::parse(ReadFile(dir / kIndex));
    change(index["weight_map"]);
    WriteFile(dir / kIndex, index.dump());
  });
}

TEST(CheckpointTest, OpensSingleAndShardedFiles) {
  const auto single = Checkpoint::Open(ModelDir("qwen2"));
  ASSERT_TRUE(single.ok()) << single.status();
  EXPECT_EQ(single->tensors().size(), 3U + 2 * 12);
  const auto sharded = Checkpoint::Open(ModelDir("llama"));
  ASSERT_TRUE(sharded.ok()) << sharded.status();
  EXPECT_EQ(sharded->tensors().size(), 3U + 2 * 9);
  const CheckpointTensor* norm = sharded->Find("model.norm.weight");
  ASSERT_NE(norm, nullptr);
  EXPECT_THAT(norm->stored.shape, testing::ElementsAre(64));
  EXPECT_EQ(sharded->Find("model.norm.bias"), nullptr);
  EXPECT_EQ(Refusal("llama", [](const auto&) {}), "accepted");
}

TEST(CheckpointTest, IndexMustNameFilesBesideIt) {
  for (const char* name : {"../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "",
                           "model.bin", ".hidden.safetensors", "a\\b.safetensors"}) {
    EXPECT_THAT(IndexRefusal([&](json& map) { map["model.norm.weight"] = name; }),
                AllOf(HasSubstr("index.json"), HasSubstr("model.norm.weight"),
                      HasSubstr("beside the index")))
        << name;
  }
  EXPECT_THAT(IndexRefusal([](json& map) { map["model.norm.weight"] = 7; }), HasSubstr("to 7"));
  EXPECT_THAT(IndexRefusal([](json& map) { map = json::object(); }), HasSubstr("weight_map"));
}

TEST(CheckpointTest, ShardsMustHoldWhatTheIndexSays) {
  EXPECT_THAT(IndexRefusal([](json& map) { map["model.norm.weight"] = kShard2; }),
              AllOf(HasSubstr(kShard2), HasSubstr("\"model.norm.weight\" is not there")));
  EXPECT_THAT(IndexRefusal([](json& map) { map["model.nonsense"] = kShard2; }),
              HasSubstr("\"model.nonsense\" is not there"));
  EXPECT_THAT(IndexRefusal([](json& map) { map.erase("model.norm.weight"); }),
              AllOf(HasSubstr("model.norm.weight"), HasSubstr("missing from")));
  EXPECT_THAT(IndexRefusal([](json& map) { map["x"] = "gone.safetensors"; }),
              HasSubstr("gone.safetensors: no such file"));
}

TEST(CheckpointTest, RefusesMissingAndBrokenFiles) {
  using std::filesystem::remove;
  EXPECT_THAT(Refusal("llama", [](const auto& dir) { remove(dir / kShard2); }),
              HasSubstr(std::string(kShard2) + ": no such file"));
  EXPECT_THAT(Refusal("qwen2", [](const auto& dir) { remove(dir / "model.safetensors"); }),
              HasSubstr("model.safetensors: no such file"));
  EXPECT_THAT(Refusal("llama",
                      [](const auto& dir) {
                        remove(dir / kShard2);
                        std::filesystem::create_symlink("nowhere", dir / kShard2);
                      }),
              HasSubstr("no such file"));
  EXPECT_THAT(Refusal("llama",
                      [](const auto& dir) {
                        remove(dir / kShard2);
                        std::filesystem::create_directory(dir / kShard2);
                      }),
              HasSubstr("not a regular file"));
  EXPECT_THAT(Refusal("llama",
                      [](const auto& dir) {
                        const std::string file = ReadFile(dir / kShard2);
                        WriteFile(dir / kShard2, file.substr(0, file.size() / 2));
                      }),
              AllOf(HasSubstr(kShard2), HasSubstr("truncated")));
  EXPECT_THAT(Refusal("llama", [](const auto& dir) { WriteFile(dir / kShard2, ""); }),
              HasSubstr("0 bytes are too few"));
}

TEST(CheckpointTest, ATensorLivesInOneShard) {
  EXPECT_THAT(Refusal("llama",
                      [](const auto& dir) {
                        std::filesystem::copy_file(dir / kShard2, dir / "copy.safetensors");
                        json index = json::parse(ReadFile(dir / kIndex));
                        index["weight_map"]["extra"] = "copy.safetensors";
                        WriteFile(dir / kIndex, index.dump());
                      }),
              AllOf(HasSubstr("copy.safetensors"), HasSubstr(" too")));
}

TEST(CheckpointWeightsTest, RefusesWrongSetOfTensors) {
  EXPECT_THAT(HeaderRefusal([](json& header, std::string&) {
                header["model.norm.wait"] = header["model.norm.weight"];
                header.erase("model.norm.weight");
              }),
              HasSubstr("no tensor \"model.norm.weight\""));
  EXPECT_THAT(HeaderRefusal([](json& header, std::string& data) {
                const std::size_t end = data.size();
                data += std::string(128, '\0');
                header["model.layers.0.self_attn.q_norm.weight"] = {
                    {"dtype", "BF16"}, {"shape", {64}}, {"data_offsets", {end, end + 128}}};
              }),
              AllOf(HasSubstr("q_norm.weight\" is not part of a Qwen2ForCausalLM of 2 layers")));
}

TEST(CheckpointWeightsTest, RefusesWrongShapesAndTypes) {
  EXPECT_THAT(HeaderRefusal([](json& header, std::string&) {
                header["model.layers.1.self_attn.k_proj.weight"]["shape"] = {64, 32};
              }),
              AllOf(HasSubstr("model.safetensors: tensor"), HasSubstr("k_proj.weight"),
                    HasSubstr("has shape [64, 32]; config.json asks for [32, 64]")));
  EXPECT_THAT(HeaderRefusal([](json& header, std::string&) {
                header["model.norm.weight"]["shape"] = {64, 1};
              }),
              HasSubstr("has shape [64, 1]; config.json asks for [64]"));
  EXPECT_THAT(HeaderRefusal(
                  [](json& header, std::string&) { header["model.norm.weight"]["dtype"] = "I16"; }),
              HasSubstr("has dtype I16; supported: BF16, F16, F32"));
}

TEST(CheckpointWeightsTest, RefusesWhatIsNotFinite) {
  for (const std::string& bits : {std::string("\x80\x7f"), std::string("\x80\xff"),
                                  std::string("\xc0\x7f"), std::string("\xff\xff")}) {
    EXPECT_THAT(HeaderRefusal([&](json& header, std::string& data) {
                  const std::size_t at = header["lm_head.weight"]["data_offsets"][1];
                  data.replace(at - 2, 2, bits);
                }),
                HasSubstr("\"lm_head.weight\" holds a NaN or an infinity"));
  }
}

TEST(CheckpointWeightsTest, ToleratesRotaryFrequenciesAndTiedHead) {
  EXPECT_EQ(HeaderRefusal([](json& header, std::string& data) {
              const std::size_t end = data.size();
              data += std::string(32, '\0');
              header["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
                  {"dtype", "F32"}, {"shape", {8}}, {"data_offsets", {end, end + 32}}};
            }),
            "accepted");
}

}  // namespace
}  // namespace thinkwire::worker::model
