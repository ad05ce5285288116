#include "worker/model/checkpoint/kv_scales.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/model/model_files.h"

namespace thinkwire::worker::model {
namespace {

using kernels::KvScales;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Scale {
  std::string name;
  float value = 1;
  std::string dtype = "F32";
  std::vector<std::int64_t> shape = {1};
};

std::string BytesOf(const Scale& scale) {
  const auto bits = std::bit_cast<std::uint32_t>(scale.value);
  std::string bytes;
  for (int i = scale.dtype == "BF16" ? 2 : 0; i < 4; ++i) {
    bytes.push_back(static_cast<char>(bits >> 8 * i & 0xFFU));
  }
  return bytes;
}

// What a checkpoint with these tensors says of a model of `layers`.
absl::StatusOr<std::vector<KvScales>> Stored(const std::vector<Scale>& scales, int layers) {
  json header = json::object();
  std::string data;
  for (const Scale& scale : scales) {
    std::string bytes;
    std::int64_t count = 1;
    for (const std::int64_t dim : scale.shape) count *= dim;
    for (std::int64_t i = 0; i < count; ++i) bytes += BytesOf(scale);
    header[scale.name] = {{"dtype", scale.dtype},
                          {"shape", scale.shape},
                          {"data_offsets", {data.size(), data.size() + bytes.size()}}};
    data += bytes;
  }
  const TempDir dir;
  WriteFile(dir.path() / "model.safetensors", Safetensors(header, data));
  const auto checkpoint = Checkpoint::Open(dir.path());
  if (!checkpoint.ok()) return checkpoint.status();
  auto stored = ReadStoredKvScales(*checkpoint, layers);
  if (!stored.ok()) return stored.status();
  return std::move(stored->scales);
}

std::string StoredRefusal(const std::vector<Scale>& scales) {
  const auto stored = Stored(scales, 2);
  EXPECT_EQ(stored.status().code(), absl::StatusCode::kInvalidArgument) << stored.status();
  return std::string(stored.status().message());
}

const std::string kFirst = "model.layers.0.self_attn.";
const std::string kSecond = "model.layers.1.self_attn.";

std::vector<Scale> Whole() {
  return {{kFirst + "k_scale", 0.5F},
          {kFirst + "v_scale", 0.25F},
          {kSecond + "k_scale", 2.0F, "BF16"},
          {kSecond + "v_scale", 0.75F, "F32", {}}};
}

TEST(StoredKvScalesTest, AreALayersOwn) {
  const auto stored = Stored(Whole(), 2);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_THAT(*stored, ElementsAre(KvScales{0.5F, 0.25F}, KvScales{2.0F, 0.75F}));
}

TEST(StoredKvScalesTest, HaveOtherNamesToo) {
  const auto stored = Stored({{kFirst + "k_proj.output_scale", 0.5F},
                              {kFirst + "v_proj.output_scale", 0.25F},
                              {kSecond + "k_proj.k_scale", 2.0F},
                              {kSecond + "v_proj.v_scale", 0.75F}},
                             2);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_THAT(*stored, ElementsAre(KvScales{0.5F, 0.25F}, KvScales{2.0F, 0.75F}));
}

TEST(StoredKvScalesTest, NeedNotBeThere) {
  const auto stored = Stored({{"model.norm.weight"}}, 2);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_THAT(*stored, IsEmpty());
}

TEST(StoredKvScalesTest, OneMissingIsRefused) {
  std::vector<Scale> scales = Whole();
  scales.pop_back();
  EXPECT_THAT(StoredRefusal(scales),
              AllOf(HasSubstr("is a KV scale, but there is no model.layers.1.self_attn.v_scale"),
                    HasSubstr("model.layers.0.self_attn.k_scale")));
}

TEST(StoredKvScalesTest, WhatIsNoScaleIsRefused) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float value :
       {0.0F, -1.0F, 1e-7F, 2e6F, kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<Scale> scales = Whole();
    scales[1].value = value;
    EXPECT_THAT(StoredRefusal(scales), AllOf(HasSubstr("self_attn.v_scale"),
                                             HasSubstr("allowed for a KV scale: 1e-06 to 1000000")))
        << value;
  }
  std::vector<Scale> scales = Whole();
  scales[0].shape = {8};
  EXPECT_THAT(StoredRefusal(scales), AllOf(HasSubstr("k_scale"), HasSubstr("shape [8]")));
  scales[0].dtype = "I32";
  scales[0].shape = {1};
  EXPECT_THAT(StoredRefusal(scales), HasSubstr("one number of BF16, F16 or F32"));
}

absl::StatusOr<std::vector<KvScales>> FromFile(const std::string& text, int layers = 2) {
  const TempDir dir;
  WriteFile(dir.path() / "scales.json", text);
  return ReadKvScalesFile(dir.path() / "scales.json", layers);
}

std::string FileRefusal(const std::string& text) {
  const auto scales = FromFile(text);
  EXPECT_EQ(scales.status().code(), absl::StatusCode::kInvalidArgument) << scales.status();
  return std::string(scales.status().message());
}

TEST(KvScalesFileTest, HasANumberALayer) {
  const auto scales = FromFile(R"({"k_scale": [0.5, 2], "v_scale": [1e-6, 1e6]})");
  ASSERT_TRUE(scales.ok()) << scales.status();
  EXPECT_THAT(*scales, ElementsAre(KvScales{0.5F, 1e-6F}, KvScales{2.0F, 1e6F}));
}

TEST(KvScalesFileTest, WhatElseItHoldsIsRefused) {
  const char* list = "a list of 2 numbers, one a layer, from 1e-06 to 1000000";
  EXPECT_THAT(FileRefusal(R"({"k_scale": [1, 1]})"),
              AllOf(HasSubstr("scales.json: v_scale is missing"), HasSubstr(list)));
  EXPECT_THAT(FileRefusal(R"({"k_scale": [1], "v_scale": [1, 1]})"),
              AllOf(HasSubstr("k_scale"), HasSubstr(list)));
  EXPECT_THAT(FileRefusal(R"({"k_scale": 1, "v_scale": [1, 1]})"), HasSubstr(list));
  for (const char* number : {"0", "-1", "1e-7", "1e7", "1e400", "null", "\"1\"", "[1]", "true"}) {
    const std::string text =
        std::string(R"({"v_scale": [1, )") + number + R"(], "k_scale": [1,1]})";
    EXPECT_FALSE(FromFile(text).ok()) << number;
  }
  EXPECT_THAT(FileRefusal(R"({"k_scale": [1, 1], "v_scale": [1, 1], "q_scale": []})"),
              HasSubstr("q_scale is not a key; allowed: k_scale, v_scale"));
  EXPECT_THAT(FileRefusal(R"({"k_scale": [1, 1], "k_scale": [1, 1]})"), HasSubstr("k_scale"));
  EXPECT_THAT(FileRefusal("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(FileRefusal("{"), HasSubstr("scales.json"));
  EXPECT_THAT(FileRefusal(std::string(2 << 20, ' ')), HasSubstr("scales.json"));
}

TEST(KvScalesFileTest, MustBeThere) {
  EXPECT_EQ(ReadKvScalesFile("/nowhere/scales.json", 2).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace thinkwire::worker::model
