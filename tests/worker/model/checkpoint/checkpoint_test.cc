#include "worker/model/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/worker/model/model_files.h"
#include "worker/model/checkpoint/checkpoint_weights.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kIndex[] = "model.safetensors.index.json";
constexpr char kShard2[] = "model-00002-of-00004.safetensors";

struct Opened {
  std::string refusal = "accepted";
  std::vector<std::string> warnings = {};
  bool is_tied = false;
  std::uint64_t identity = 0;
};

// What opening says of a copy of model `name` after `change`.
Opened Open(const std::string& name,
            const std::function<void(const std::filesystem::path&)>& change) {
  const TempDir dir;
  CopyModel(name, dir.path());
  change(dir.path());
  const auto config = LoadModelConfig(dir.path());
  if (!config.ok()) return {.refusal = std::string(config.status().message())};
  ModelPlan plan = MakePlan(*config);
  const auto weights = CheckpointWeights::Open(dir.path(), plan);
  if (!weights.ok()) return {.refusal = std::string(weights.status().message())};
  return {.warnings = plan.config.warnings,
          .is_tied = plan.config.tie_word_embeddings,
          .identity = (*weights)->identity()};
}

std::string Refusal(const std::string& name,
                    const std::function<void(const std::filesystem::path&)>& damage) {
  return Open(name, damage).refusal;
}

using ChangeOfTensors = std::function<void(json& header, std::string& data)>;

// With the header or the data of the single file of `name` changed.
Opened OpenChanged(const std::string& name, const ChangeOfTensors& change) {
  return Open(name, [&](const auto& dir) {
    SafetensorsParts parts = SplitSafetensors(ReadFile(dir / "model.safetensors"));
    change(parts.header, parts.data);
    WriteFile(dir / "model.safetensors", Safetensors(parts.header, parts.data));
  });
}

std::string HeaderRefusal(const ChangeOfTensors& change) {
  return OpenChanged("qwen2", change).refusal;
}

// Opens the sharded model with its index changed.
Opened OpenIndexed(const std::function<void(json&)>& change) {
  return Open("llama", [&](const auto& dir) {
    json index = json::parse(ReadFile(dir / kIndex));
    change(index["weight_map"]);
    WriteFile(dir / kIndex, index.dump());
  });
}

std::string IndexRefusal(const std::function<void(json&)>& change) {
  return OpenIndexed(change).refusal;
}

// Adds a tensor of zeros.
void AddTensor(const std::string& name, std::int64_t elements, json& header, std::string& data) {
  const std::size_t end = data.size();
  const std::size_t bytes = 2 * static_cast<std::size_t>(elements);
  data += std::string(bytes, '\0');
  header[name] = {{"dtype", "BF16"}, {"shape", {elements}}, {"data_offsets", {end, end + bytes}}};
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

TEST(CheckpointTest, ShardsAreBelievedBeforeTheIndex) {
  const auto warnings = [](const std::function<void(json&)>& change) {
    const Opened opened = OpenIndexed(change);
    EXPECT_EQ(opened.refusal, "accepted");
    return opened.warnings;
  };
  EXPECT_THAT(warnings([](json&) {}), IsEmpty());
  EXPECT_THAT(warnings([](json& map) { map["model.norm.weight"] = kShard2; }),
              ElementsAre(AllOf(HasSubstr("in other files"), HasSubstr("model.norm.weight"))));
  EXPECT_THAT(warnings([](json& map) { map["model.nonsense"] = kShard2; }),
              ElementsAre(AllOf(HasSubstr("that no file has"), HasSubstr("model.nonsense"))));
  EXPECT_THAT(warnings([](json& map) { map.erase("model.norm.weight"); }),
              ElementsAre(AllOf(HasSubstr("index.json: lacks"), HasSubstr("model.norm.weight"))));
  EXPECT_THAT(IndexRefusal([](json& map) { map["x"] = "gone.safetensors"; }),
              HasSubstr("gone.safetensors: no such file"));
}

TEST(CheckpointTest, AWholeFileIsObeyedBeforeAnIndex) {
  const auto beside = [](const std::string& index) {
    return Open("qwen2", [&index](const auto& dir) { WriteFile(dir / kIndex, index); });
  };
  const Opened alone = Open("qwen2", [](const auto&) {});
  for (const char* stale :
       {R"({"weight_map": {"a": "gone.safetensors"}})", R"({"weight_map": {}})", "{"}) {
    const Opened opened = beside(stale);
    EXPECT_EQ(opened.identity, alone.identity) << opened.refusal;
    EXPECT_THAT(opened.warnings, ElementsAre(HasSubstr("index.json: is not obeyed"))) << stale;
  }
  const Opened same = beside(R"({"weight_map": {"model.norm.weight": "model.safetensors"}})");
  EXPECT_EQ(same.identity, alone.identity);
  EXPECT_THAT(same.warnings, IsEmpty());
}

TEST(CheckpointTest, RotaryFrequenciesNeedNoPlaceInTheIndex) {
  const Opened opened = Open("llama", [](const auto& dir) {
    SafetensorsParts parts = SplitSafetensors(ReadFile(dir / kShard2));
    AddTensor("model.layers.0.self_attn.rotary_emb.inv_freq", 16, parts.header, parts.data);
    WriteFile(dir / kShard2, Safetensors(parts.header, parts.data));
  });
  EXPECT_EQ(opened.refusal, "accepted");
  EXPECT_THAT(opened.warnings, IsEmpty());
}

TEST(CheckpointTest, SaysWhatAFolderHoldsInstead) {
  const auto instead = [](const std::string& name) {
    return Refusal("qwen2", [&name](const auto& dir) {
      std::filesystem::remove(dir / "model.safetensors");
      WriteFile(dir / name, "{}");
    });
  };
  EXPECT_THAT(instead("pytorch_model.bin"), HasSubstr("pytorch_model.bin is there"));
  EXPECT_THAT(instead("pytorch_model.bin.index.json"), HasSubstr("safetensors alone"));
  EXPECT_THAT(instead("adapter_config.json"), HasSubstr("merge it into its base model"));
  EXPECT_THAT(instead("model-Q4_K_M.gguf"),
              HasSubstr("a GGUF file is served by its own name: --model "));
  EXPECT_THAT(instead("README.md"), HasSubstr("no model.safetensors.index.json either"));
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
}

TEST(CheckpointWeightsTest, NamesTensorsWithoutAUse) {
  const Opened opened = OpenChanged("qwen2", [](json& header, std::string& data) {
    AddTensor("model.layers.0.self_attn.q_norm.weight", 64, header, data);
  });
  EXPECT_EQ(opened.refusal, "accepted");
  EXPECT_THAT(opened.warnings,
              ElementsAre(AllOf(HasSubstr("Qwen2ForCausalLM of 2 layers"), HasSubstr("1 tensors"),
                                HasSubstr("q_norm.weight"))));
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

TEST(CheckpointWeightsTest, ToleratesRotaryFrequencies) {
  const Opened opened = OpenChanged("qwen2", [](json& header, std::string& data) {
    AddTensor("model.layers.0.self_attn.rotary_emb.inv_freq", 16, header, data);
  });
  EXPECT_EQ(opened.refusal, "accepted");
  EXPECT_THAT(opened.warnings, IsEmpty());
}

// Stores the tied model's embedding as its head too, and lets `change` see the head's bytes.
Opened OpenWithHead(const std::function<void(std::string& head)>& change) {
  return OpenChanged("qwen2-tied", [&change](json& header, std::string& data) {
    json head = header[kEmbeddingName];
    const std::size_t begin = head["data_offsets"][0];
    const std::size_t bytes = head["data_offsets"][1].get<std::size_t>() - begin;
    std::string copy = data.substr(begin, bytes);
    change(copy);
    head["data_offsets"] = {data.size(), data.size() + bytes};
    header[kHeadName] = head;
    data += copy;
  });
}

TEST(CheckpointWeightsTest, ATiedHeadThatIsStoredTooIsNotUsedTwice) {
  const Opened opened = OpenWithHead([](std::string&) {});
  EXPECT_TRUE(opened.is_tied) << opened.refusal;
  EXPECT_THAT(opened.warnings, IsEmpty());
  EXPECT_EQ(opened.identity, Open("qwen2-tied", [](const auto&) {}).identity);
}

TEST(CheckpointWeightsTest, AStoredHeadThatDiffersIsObeyedBeforeTheTie) {
  const Opened opened = OpenWithHead([](std::string& head) { head[0] ^= 1; });
  EXPECT_EQ(opened.refusal, "accepted");
  EXPECT_FALSE(opened.is_tied);
  EXPECT_THAT(opened.warnings, ElementsAre(AllOf(HasSubstr("lm_head.weight is obeyed"),
                                                 HasSubstr("tie_word_embeddings true is not"))));
}

// What safetensors.torch.save_model writes: of two names for one storage it keeps either.
TEST(CheckpointWeightsTest, ATieIsSymmetric) {
  const Opened opened = OpenChanged("qwen2-tied", [](json& header, std::string&) {
    header[kHeadName] = header[kEmbeddingName];
    header.erase(kEmbeddingName);
  });
  EXPECT_EQ(opened.refusal, "accepted");
  EXPECT_TRUE(opened.is_tied);
  EXPECT_THAT(opened.warnings, IsEmpty());
  EXPECT_EQ(opened.identity, Open("qwen2-tied", [](const auto&) {}).identity);
}

TEST(CheckpointWeightsTest, AMissingHeadIsExplained) {
  EXPECT_THAT(HeaderRefusal([](json& header, std::string& data) {
                const std::size_t begin = header[kHeadName]["data_offsets"][0];
                header["model.unused"] = header[kHeadName];
                header.erase(kHeadName);
                ASSERT_LT(begin, data.size());
              }),
              AllOf(HasSubstr("no tensor \"lm_head.weight\""), HasSubstr("tie_word_embeddings")));
}

}  // namespace
}  // namespace thinkwire::worker::model
