#include "worker/model/checkpoint/nf4_tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "worker/model/load_model.h"

// Matrices that bitsandbytes has packed, and what it makes of them
// (tests/data/scripts/make_nf4.py).
namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr char kGoldens[] = "tests/data/nf4.safetensors";
constexpr char kState[] = ".weight.quant_state.bitsandbytes__nf4";

using Change = std::function<void(json& header, std::string& data)>;

// Bytes of a tensor of the file, for a change of as many.
char* BytesOf(const json& header, std::string& data, const std::string& name) {
  return data.data() + header.at(name).at("data_offsets")[0].get<std::size_t>();
}

class Nf4TensorTest : public testing::Test {
 protected:
  void Open(const Change& change = {}) {
    SafetensorsParts parts = SplitSafetensors(ReadFile(kGoldens));
    if (change) change(parts.header, parts.data);
    WriteFile(dir_.path() / "model.safetensors", Safetensors(parts.header, parts.data));
    auto opened = Checkpoint::Open(dir_.path());
    ASSERT_TRUE(opened.ok()) << opened.status();
    checkpoint_ = std::make_unique<Checkpoint>(*std::move(opened));
  }

  // Found and checked, of the shape that its meaning has.
  absl::StatusOr<Nf4Tensor> Read(const std::string& name) const {
    const auto& shape = checkpoint_->Find(name + ".w")->stored.shape;
    auto tensor = Nf4Tensor::Find(*checkpoint_, name + ".weight", shape[0], shape[1]);
    if (!tensor.ok()) return tensor;
    const absl::Status contents = tensor->CheckContents();
    if (!contents.ok()) return contents;
    return tensor;
  }

  std::string Refusal(const std::string& name, const Change& change) {
    Open(change);
    const auto tensor = Read(name);
    return tensor.ok() ? "accepted" : std::string(tensor.status().message());
  }

  // Refusal of "odd" where its state says otherwise in one key.
  std::string RefusalOfState(const std::string& key, const json& value) {
    return Refusal("odd", [&](json& header, std::string& data) {
      json& entry = header.at(std::string("odd") + kState);
      const auto begin = entry["data_offsets"][0].get<std::size_t>();
      const auto end = entry["data_offsets"][1].get<std::size_t>();
      json state = json::parse(data.substr(begin, end - begin));
      state[key] = value;
      const std::string text = state.dump();
      // At the file's end; what was there before belongs to another name.
      header["before"] = entry;
      entry = {{"dtype", "U8"},
               {"shape", {text.size()}},
               {"data_offsets", {data.size(), data.size() + text.size()}}};
      data += text;
    });
  }

  const TempDir dir_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(Nf4TensorTest, HasTheBitsOfBitsandbytes) {
  Open();
  for (const std::string name : {"up", "odd", "plain"}) {
    ASSERT_TRUE(Nf4Tensor::IsIn(*checkpoint_, name + ".weight"));
    const auto tensor = Read(name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    const StoredTensor& meaning = checkpoint_->Find(name + ".w")->stored;
    const std::int64_t rows = meaning.shape[0];
    const std::int64_t cols = meaning.shape[1];
    const HostSlice all =
        tensor->Slice({.first_row = 0, .rows = rows, .first_col = 0, .cols = cols});
    ASSERT_EQ(all.owned.size(), meaning.bytes.size()) << name;
    EXPECT_EQ(std::memcmp(all.slice.data, meaning.bytes.data(), meaning.bytes.size()), 0) << name;
  }
}

TEST_F(Nf4TensorTest, ARegionIsThatOfTheWhole) {
  Open();
  const auto tensor = Read("odd");
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  const HostSlice part = tensor->Slice({.first_row = 3, .rows = 2, .first_col = 71, .cols = 5});
  const StoredTensor& meaning = checkpoint_->Find("odd.w")->stored;
  ASSERT_EQ(part.owned.size(), 20U);
  for (std::size_t row = 0; row < 2; ++row) {
    EXPECT_EQ(std::memcmp(part.owned.data() + row * 10,
                          meaning.bytes.data() + ((3 + row) * 1000 + 71) * 2, 10),
              0);
  }
}

TEST_F(Nf4TensorTest, RefusesStatesThatItDoesNotKnow) {
  EXPECT_EQ(RefusalOfState("note", "none"), "accepted");
  EXPECT_THAT(RefusalOfState("quant_type", "fp4"),
              HasSubstr("bitsandbytes__nf4\": quant_type is \"fp4\"; supported: nf4"));
  EXPECT_THAT(RefusalOfState("shape", {1000, 20}),
              HasSubstr("shape is [1000,20]; supported: [20, 1000], as config.json asks"));
  EXPECT_THAT(RefusalOfState("blocksize", 0), HasSubstr("blocksize is 0; supported: an integer"));
  EXPECT_THAT(RefusalOfState("blocksize", 128),
              AllOf(HasSubstr("odd.weight.absmax\" is U8 [313]"), HasSubstr("U8, 157 of them")));
  EXPECT_THAT(RefusalOfState("nested_blocksize", nullptr),
              HasSubstr("odd.weight.absmax\" is U8 [313]; NF4 has F32, 313 of them"));
  EXPECT_THAT(RefusalOfState("nested_offset", 1e30), HasSubstr("nested_offset is 1e+30"));
  EXPECT_THAT(Refusal("odd",
                      [](json& header, std::string& data) {
                        *BytesOf(header, data, std::string("odd") + kState) = '[';
                      }),
              HasSubstr("bitsandbytes__nf4\""));
}

TEST_F(Nf4TensorTest, RefusesTensorsByName) {
  EXPECT_THAT(Refusal("odd",
                      [](json& header, std::string&) {
                        header["other"] = header["odd.weight.nested_absmax"];
                        header.erase("odd.weight.nested_absmax");
                      }),
              HasSubstr("no tensor \"odd.weight.nested_absmax\", which \"odd.weight.quant_state"));
  EXPECT_THAT(
      Refusal("plain", [](json& header,
                          std::string&) { header["plain.weight.quant_map"]["dtype"] = "I32"; }),
      HasSubstr("plain.weight.quant_map\" is I32 [16]; NF4 has F32, 16 of them"));
  EXPECT_THAT(Refusal("plain",
                      [](json& header, std::string& data) {
                        const float huge = 3.4e38F;
                        std::memcpy(BytesOf(header, data, "plain.weight.absmax"), &huge, 4);
                      }),
              HasSubstr("plain.weight.absmax\" has weights beyond those of BF16"));
}

// The model "qwen2" with one projection packed, and with what that stands for.
class Nf4ModelTest : public testing::Test {
 protected:
  Nf4ModelTest() {
    std::filesystem::create_directory(packed());
    std::filesystem::create_directory(dense());
    CopyModel("qwen2", packed());
    CopyModel("qwen2", dense());
    const SafetensorsParts goldens = SplitSafetensors(ReadFile(kGoldens));
    Replace(packed(), goldens, "up.weight", kUp);
    Replace(dense(), goldens, "up.w", kUp);
    json config = json::parse(ReadFile(packed() / "config.json"));
    config["quantization_config"] = {{"quant_method", "bitsandbytes"},
                                     {"load_in_4bit", true},
                                     {"load_in_8bit", false},
                                     {"bnb_4bit_quant_type", "nf4"},
                                     {"bnb_4bit_quant_storage", "uint8"},
                                     {"bnb_4bit_use_double_quant", true},
                                     {"llm_int8_skip_modules", {"lm_head", "q_proj"}}};
    WriteFile(packed() / "config.json", config.dump());
  }
  std::filesystem::path packed() const { return dir_.path() / "packed"; }
  std::filesystem::path dense() const { return dir_.path() / "dense"; }

  // Puts the tensors whose names begin with `from` into the folder's file, under names that begin
  // with `to`.
  static void Replace(const std::filesystem::path& folder, const SafetensorsParts& goldens,
                      const std::string& from, const std::string& to) {
    SafetensorsParts parts = SplitSafetensors(ReadFile(folder / "model.safetensors"));
    parts.header["before"] = parts.header.at(to);
    for (const auto& [name, entry] : goldens.header.items()) {
      if (!name.starts_with(from) || (name != from && name[from.size()] != '.')) continue;
      const auto begin = entry["data_offsets"][0].get<std::size_t>();
      const auto end = entry["data_offsets"][1].get<std::size_t>();
      parts.header[to + name.substr(from.size())] = {
          {"dtype", entry["dtype"]},
          {"shape", entry["shape"]},
          {"data_offsets", {parts.data.size(), parts.data.size() + end - begin}}};
      parts.data += goldens.data.substr(begin, end - begin);
    }
    WriteFile(folder / "model.safetensors", Safetensors(parts.header, parts.data));
  }

  static std::vector<Drawn> Draw(const ModelOptions& options) {
    const auto model = LoadModel(options, LocalPlans(options));
    EXPECT_TRUE(model.ok()) << model.status();
    if (!model.ok()) return {};
    StepDriver driver(**model);
    driver.Begin(0, Greedy());
    return driver.Generate(0, {1, 2, 3, 5, 8, 13, 21}, 8, 1000, 1);
  }
  static std::string Refusal(const ModelOptions& options) {
    const auto model = LoadModel(options, LocalPlans(options));
    return model.ok() ? "accepted" : std::string(model.status().message());
  }

  static constexpr char kUp[] = "model.layers.0.mlp.up_proj.weight";
  const TempDir dir_;
};

TEST_F(Nf4ModelTest, HasTheBitsOfTheWeightsUnpackedAhead) {
  for (const std::int32_t ranks : {1, 2}) {
    const std::vector<Drawn> expected = Draw(OptionsFor(dense(), ranks));
    ASSERT_EQ(expected.size(), 8U);
    EXPECT_EQ(Draw(OptionsFor(packed(), ranks)), expected) << ranks;
  }
}

TEST_F(Nf4ModelTest, QuantizationAsserts) {
  ModelOptions options = OptionsFor(packed());
  options.quantization = "bitsandbytes";
  EXPECT_EQ(Refusal(options), "accepted");
  options.quantization = "none";
  EXPECT_THAT(Refusal(options), HasSubstr("which auto and bitsandbytes allow"));
  options.model_dir = dense();
  EXPECT_EQ(Refusal(options), "accepted");
}

}  // namespace
}  // namespace thinkwire::worker::model
