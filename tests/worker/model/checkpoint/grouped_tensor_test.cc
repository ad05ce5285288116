#include "worker/model/checkpoint/grouped_tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/model_files.h"
#include "worker/kernels/unpack_row.h"

// Quantised matrices as their formats' own libraries read them
// (tests/data/scripts/check_quantized.py).
namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr char kGoldens[] = "tests/data/quantized.safetensors";

using Change = std::function<void(json& header, std::string& data)>;

// A checkpoint of the golden matrices after `change`.
class Goldens {
 public:
  explicit Goldens(const Change& change = {}) {
    SafetensorsParts parts = SplitSafetensors(ReadFile(kGoldens));
    configs_ = parts.header.at("__metadata__");
    if (change) change(parts.header, parts.data);
    WriteFile(dir_.path() / "model.safetensors", Safetensors(parts.header, parts.data));
    auto opened = Checkpoint::Open(dir_.path());
    EXPECT_TRUE(opened.ok()) << opened.status();
    checkpoint_ = std::make_unique<Checkpoint>(*std::move(opened));
  }

  json config(const std::string& matrix) const {
    return json::parse(configs_.at(matrix).get<std::string>());
  }
  bool has(const std::string& tensor) const { return checkpoint_->Find(tensor) != nullptr; }
  std::int64_t rows(const std::string& matrix) const { return Shape(matrix)[0]; }
  std::int64_t cols(const std::string& matrix) const { return Shape(matrix)[1]; }

  // Found and checked.
  absl::StatusOr<GroupedTensor> Read(const std::string& matrix, const json& config) const {
    auto read = QuantizationConfig::Read(config, "config.json");
    if (!read.ok()) return read.status();
    auto scheme = read->SchemeOf(matrix);
    if (!scheme.ok()) return scheme.status();
    auto tensor =
        GroupedTensor::Find(*checkpoint_, matrix, rows(matrix), cols(matrix), scheme->value());
    if (!tensor.ok()) return tensor.status();
    const absl::Status contents = tensor->CheckContents();
    if (!contents.ok()) return contents;
    return tensor;
  }
  absl::StatusOr<GroupedTensor> Read(const std::string& matrix) const {
    return Read(matrix, config(matrix));
  }

  template <class T>
  T Expected(const std::string& tensor, std::int64_t at) const {
    T value;
    std::memcpy(&value, checkpoint_->Find(tensor)->stored.bytes.data() + at * sizeof(T), sizeof(T));
    return value;
  }

 private:
  const std::vector<std::int64_t>& Shape(const std::string& matrix) const {
    return checkpoint_->Find(matrix + ".q")->stored.shape;
  }

  TempDir dir_;
  json configs_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

std::vector<std::string> Matrices() {
  std::vector<std::string> names;
  const SafetensorsParts parts = SplitSafetensors(ReadFile(kGoldens));
  for (const auto& [name, config] : parts.header.at("__metadata__").items()) names.push_back(name);
  return names;
}

class GroupedTensorTest : public testing::TestWithParam<std::string> {
 protected:
  // The file's column at place `col` here.
  static std::int64_t StoredColumn(const GroupedTensor& tensor, std::int64_t col) {
    return tensor.order().empty() ? col : tensor.order()[static_cast<std::size_t>(col)];
  }

  const Goldens goldens_;
};

TEST_P(GroupedTensorTest, HasTheNumbersThatItsOwnLibraryReads) {
  const std::string& name = GetParam();
  const auto tensor = goldens_.Read(name);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  const std::int64_t cols = goldens_.cols(name);
  std::int64_t groups = 0;
  for (std::int64_t col = 0; col < cols; ++col) {
    const std::int64_t stored = StoredColumn(*tensor, col);
    const auto group = goldens_.Expected<std::int32_t>(name + ".g", stored);
    EXPECT_GE(group, groups - 1) << "columns go by group";
    groups = group + 1;
    for (std::int64_t row = 0; row < goldens_.rows(name); ++row) {
      ASSERT_EQ(tensor->q(row, col),
                goldens_.Expected<std::uint8_t>(name + ".q", row * cols + stored));
    }
  }
  for (std::int64_t i = 0; i < goldens_.rows(name) * groups; ++i) {
    ASSERT_EQ(tensor->zero(i / groups, i % groups),
              goldens_.Expected<std::uint32_t>(name + ".z", i));
    ASSERT_EQ(tensor->scale(i / groups, i % groups), goldens_.Expected<float>(name + ".s", i));
  }
}

TEST_P(GroupedTensorTest, ItsBlocksAreWorthThem) {
  const std::string& name = GetParam();
  const auto tensor = goldens_.Read(name);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  const std::int64_t cols = goldens_.cols(name);
  const Region region = {1, 2, 0, cols};
  const HostSlice host = tensor->Slice(region);
  ASSERT_EQ(host.slice.encoding, tensor->encoding());
  const auto groups = static_cast<std::int64_t>(
      goldens_.Expected<std::int32_t>(name + ".g", StoredColumn(*tensor, cols - 1)) + 1);
  std::vector<float> weights(static_cast<std::size_t>(cols));
  for (std::int64_t r = 0; r < region.rows; ++r) {
    kernels::UnpackRow(host.slice.encoding, host.slice.row(r), cols, weights.data());
    for (std::int64_t col = 0; col < cols; ++col) {
      const std::int64_t row = region.first_row + r;
      if (goldens_.has(name + ".w")) {
        ASSERT_EQ(weights[static_cast<std::size_t>(col)],
                  goldens_.Expected<float>(name + ".w", row * cols + col));
        continue;
      }
      const std::int64_t group = col / (cols / groups);
      const auto steps = static_cast<int>(tensor->q(row, col)) -
                         goldens_.Expected<std::int32_t>(name + ".z", row * groups + group);
      ASSERT_EQ(
          weights[static_cast<std::size_t>(col)],
          static_cast<float>(steps) * goldens_.Expected<float>(name + ".s", row * groups + group))
          << row << ", " << col;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Matrices, GroupedTensorTest, testing::ValuesIn(Matrices()),
                         [](const auto& info) { return info.param; });

TEST(GroupedTensorRegionTest, ARankTakesWholeBlocks) {
  const Goldens goldens;
  const auto tensor = goldens.Read("awq_128");
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  const HostSlice all = tensor->Slice({0, 8, 0, 256});
  const HostSlice part = tensor->Slice({2, 3, 128, 128});
  for (std::int64_t row = 0; row < 3; ++row) {
    EXPECT_EQ(0,
              std::memcmp(part.slice.row(row), all.slice.row(row + 2) + kernels::kInt4PackedBytes,
                          kernels::kInt4PackedBytes));
  }
}

TEST(GroupedTensorRegionTest, BlocksDivideGroups) {
  using kernels::Encoding;
  const Goldens goldens;
  const auto encoding = [&goldens](const char* name) { return goldens.Read(name)->encoding(); };
  EXPECT_EQ(encoding("awq_128"), Encoding::kInt4);
  EXPECT_EQ(encoding("awq_64"), Encoding::kInt4G64);
  EXPECT_EQ(encoding("awq_row"), Encoding::kInt4G32);
  EXPECT_EQ(encoding("ct_row"), Encoding::kInt4);
  EXPECT_EQ(encoding("gptq_8"), Encoding::kInt8G64);
  EXPECT_EQ(encoding("gptq_8_asym"), Encoding::kInt8);
}

std::string Refusal(
    const std::string& matrix, const Change& change,
    const std::function<void(json&)>& change_config = [](json&) {}) {
  const Goldens goldens(change);
  json config = goldens.config(matrix);
  change_config(config);
  const auto tensor = goldens.Read(matrix, config);
  return tensor.ok() ? "accepted" : std::string(tensor.status().message());
}

Change Without(const std::string& tensor) {
  return [tensor](json& header, std::string&) {
    header[tensor + ".kept"] = header[tensor];
    header.erase(tensor);
  };
}

// Replaces a tensor's bytes from `at` on.
Change With(const std::string& tensor, std::size_t at, const std::string& bytes) {
  return [=](json& header, std::string& data) {
    const auto begin = header.at(tensor).at("data_offsets")[0].get<std::size_t>();
    data.replace(begin + at, bytes.size(), bytes);
  };
}

TEST(GroupedTensorRefusalTest, OfTensorsThatAreNotThere) {
  for (const char* name : {"awq_128.qweight", "awq_128.qzeros", "awq_128.scales"}) {
    EXPECT_THAT(Refusal("awq_128", Without(name)),
                AllOf(HasSubstr("no tensor \"" + std::string(name)),
                      HasSubstr("quantization_config asks for")));
  }
  EXPECT_THAT(Refusal("gptq_act", Without("gptq_act.g_idx")), HasSubstr("gptq_act.g_idx"));
  EXPECT_THAT(Refusal("ct_asym", Without("ct_asym.weight_zero_point")),
              HasSubstr("ct_asym.weight_zero_point"));
  EXPECT_THAT(Refusal("ct_128", Without("ct_128.weight_shape")), HasSubstr("ct_128.weight_shape"));
}

TEST(GroupedTensorRefusalTest, OfShapesAndTypes) {
  const auto reshaped = [](const std::string& tensor, const json& shape) {
    return [=](json& header, std::string&) { header[tensor]["shape"] = shape; };
  };
  EXPECT_THAT(Refusal("awq_128", reshaped("awq_128.qweight", {128, 2})),
              AllOf(HasSubstr("\"awq_128.qweight\" has shape [128, 2]"),
                    HasSubstr("config.json asks for [256, 1]")));
  EXPECT_THAT(Refusal("gptq_sym", reshaped("gptq_sym.scales", {8, 2})),
              HasSubstr("\"gptq_sym.scales\" has shape [8, 2]"));
  EXPECT_THAT(
      Refusal("ct_128",
              [](json& header, std::string&) { header["ct_128.weight_packed"]["dtype"] = "F32"; }),
      AllOf(HasSubstr("has dtype F32"), HasSubstr("supported: I32")));
  const auto grouped_by = [](int columns) {
    return [columns](json& config) { config["group_size"] = columns; };
  };
  EXPECT_THAT(Refusal("awq_128", {}, grouped_by(64)), HasSubstr("asks for [4, 1]"));
  EXPECT_THAT(Refusal("awq_32", {}, grouped_by(64)),
              AllOf(HasSubstr("96 columns"), HasSubstr("no whole groups of 64")));
}

TEST(GroupedTensorRefusalTest, OfBytesWithAnotherScale) {
  EXPECT_THAT(Refusal("fp8_channel", Without("fp8_channel.weight_scale")),
              HasSubstr("no tensor \"fp8_channel.weight_scale\""));
  EXPECT_THAT(Refusal("fp8_blocks",
                      [](json& header, std::string&) {
                        header["fp8_blocks.weight_scale_inv"]["shape"] = {2, 1};
                      }),
              AllOf(HasSubstr("has shape [2, 1]"), HasSubstr("asks for [1, 2]")));
  EXPECT_THAT(
      Refusal("ct_w8a8",
              [](json& header, std::string&) { header["ct_w8a8.weight"]["dtype"] = "F8_E4M3"; }),
      AllOf(HasSubstr("has dtype F8_E4M3"), HasSubstr("supported: I8")));
}

TEST(GroupedTensorRefusalTest, OfContents) {
  EXPECT_THAT(Refusal("ct_128", With("ct_128.weight_shape", 0, "\x09")),
              AllOf(HasSubstr("weight_shape"), HasSubstr("says [9, 256]")));
  EXPECT_THAT(Refusal("gptq_act", With("gptq_act.g_idx", 0, std::string("\x04\0\0\0", 4))),
              AllOf(HasSubstr("puts column 0 into group 4"), HasSubstr("allowed: 0 to 3")));
  EXPECT_THAT(Refusal("gptq_act", With("gptq_act.g_idx", 0, std::string("\xff\xff\xff\xff", 4))),
              HasSubstr("into group -1"));
  EXPECT_THAT(Refusal("gptq_sym", With("gptq_sym.g_idx", 0, std::string("\x01\0\0\0", 4))),
              HasSubstr("has a group of 127 columns"));
  EXPECT_THAT(Refusal("gptq_act", {}, [](json& config) { config["desc_act"] = false; }),
              HasSubstr("do not stand together"));
  EXPECT_THAT(Refusal("ct_128", With("ct_128.weight_scale", 0, "\x7f\x7f")),
              HasSubstr("beyond what BF16 weights can have"));
}

// AutoGPTQ takes one from each zero point and masks nothing, so that its readers disagree on 15.
TEST(GroupedTensorRefusalTest, OfZeroPointsThatReadersDisagreeOn) {
  EXPECT_THAT(Refusal("gptq_borrow", {}, [](json& config) { config.erase("meta"); }),
              AllOf(HasSubstr("\"gptq_borrow.qzeros\" stores 15"), HasSubstr("gptq_v2")));
}

}  // namespace
}  // namespace thinkwire::worker::model
