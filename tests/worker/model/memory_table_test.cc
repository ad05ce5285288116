#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "tests/worker/model/model_files.h"
#include "worker/kernels/cuda/linear/unit_layout.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/family_fit.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_shape.h"

// The README's table of the memory that the distills take on a GPU.
namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

// The numbers of the row that begins with these two cells.
std::vector<std::string> RowOf(const std::string& what, const std::string& type) {
  const std::string begin = absl::StrCat("| ", what, " | ", type.empty() ? "" : type + " ", "|");
  for (const absl::string_view line : absl::StrSplit(ReadFile("README.md"), '\n')) {
    if (!absl::StartsWith(line, begin)) continue;
    std::vector<std::string> cells = absl::StrSplit(line.substr(begin.size()), '|');
    cells.pop_back();  // behind the last bar
    for (std::string& cell : cells) absl::StripAsciiWhitespace(&cell);
    return cells;
  }
  return {};
}

// As compute capability 9.0 lays it out.
std::int64_t GpuBytes(const TensorSpec& spec) {
  const std::int64_t elements = spec.rows * spec.cols;
  if (spec.name == kEmbeddingName) return 2 * elements;
  const auto unit = kernels::UnitFormatOf(spec.encoding);
  if (!unit) return kernels::BytesOf(spec.encoding, elements);
  return elements / (kernels::kInt4UnitRows * kernels::kUnitColumns) * kernels::UnitBytes(*unit);
}

// A distill with the layers' matrices in `encoding`; of a GGUF file's types the head is packed too.
ModelPlan PlanOf(const FamilyMember& member, Encoding encoding) {
  ModelPlan plan = MakePlan(member.config);
  SetMatrixEncoding(encoding, plan);
  if (encoding == Encoding::kFp8) plan.head.matrices[0].spec.encoding = Encoding::kBf16;
  return plan;
}

std::vector<std::string> WeightsInGb(Encoding encoding) {
  std::vector<std::string> sizes;
  for (const FamilyMember& member : Distills()) {
    std::int64_t bytes = 0;
    for (const TensorSpec& spec : RequiredTensors(PlanOf(member, encoding))) {
      bytes += GpuBytes(spec);
    }
    sizes.push_back(absl::StrFormat("%.1f", static_cast<double>(bytes) / 1e9));
  }
  return sizes;
}

std::vector<std::string> KvInKb(bool is_fp8) {
  constexpr std::int32_t kBlockTokens = 16;
  std::vector<std::string> sizes;
  for (const FamilyMember& member : Distills()) {
    ModelPlan plan = MakePlan(member.config);
    plan.kv_cache.is_fp8 = is_fp8;
    const RankShape shape = ShapeOfRank(plan, 0, 1);
    const auto block =
        KvLayoutOf(plan, shape, kBlockTokens, kernels::DType::kBf16).block_bytes() / kBlockTokens;
    sizes.push_back(absl::StrFormat("%.0f", static_cast<double>(block) / 1e3));
  }
  return sizes;
}

TEST(MemoryTableTest, SaysWhatTheWeightsTake) {
  const std::string folder = "`--model FOLDER`";
  const std::string gguf = "`--model x.gguf`";
  EXPECT_EQ(RowOf("a folder in BF16, as published, or in NF4", folder),
            WeightsInGb(Encoding::kBf16));
  EXPECT_EQ(RowOf("one in BF16", "`--model FOLDER --quantization fp8`"),
            WeightsInGb(Encoding::kFp8));
  const std::string bytes = "one in FP8, in W8A8, or in 8 bits by groups of 128";
  EXPECT_EQ(RowOf(bytes, folder), WeightsInGb(Encoding::kFp8));
  EXPECT_EQ(RowOf("one in 4 bits by groups of 128: AWQ, GPTQ, W4A16", folder),
            WeightsInGb(Encoding::kInt4));
  EXPECT_EQ(RowOf("a GGUF file of Q8_0", gguf), WeightsInGb(Encoding::kQ8_0));
  EXPECT_EQ(RowOf("one of Q4_K_M", gguf), WeightsInGb(Encoding::kQ4K));
}

TEST(MemoryTableTest, SaysWhatATokenTakes) {
  EXPECT_EQ(RowOf("KV cache as it is", ""), KvInKb(false));
  EXPECT_EQ(RowOf("KV cache in FP8", "`--kv_cache_dtype fp8_e4m3`"), KvInKb(true));
}

TEST(MemoryTableTest, HasAColumnForEachDistill) {
  std::vector<std::string> variants;
  for (const FamilyMember& member : Distills()) variants.push_back(member.variant);
  EXPECT_EQ(RowOf("what you have", "what to type"), variants);
}

}  // namespace
}  // namespace thinkwire::worker::model
