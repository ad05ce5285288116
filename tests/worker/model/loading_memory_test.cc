// What of a model's files is in memory while it is loaded.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "tests/worker/model/gguf_model.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/wide_model.h"
#include "worker/model/checkpoint/requantize.h"
#include "worker/model/counting_backend.h"
#include "worker/model/layers/rank_model.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {
namespace {

namespace fs = std::filesystem;
using kernels::Encoding;

// Bytes of the file that this process has in its own memory, by all its mappings of it.
std::size_t ResidentBytes(const fs::path& file) {
  std::ifstream maps("/proc/self/smaps");
  std::size_t kilobytes = 0;
  bool is_file = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string first;
    if (!(words >> first)) continue;
    if (first.back() != ':') {
      is_file = line.ends_with(file.string());
    } else if (is_file && first == "Rss:") {
      std::size_t more = 0;
      words >> more;
      kilobytes += more;
    }
  }
  return kilobytes * 1024;
}

// Reads a byte of each page.
void Touch(std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += 512) {
    static_cast<void>(*const_cast<const volatile std::byte*>(bytes.data() + at));
  }
}

class LoadingMemoryTest : public testing::Test {
 protected:
  LoadingMemoryTest() {
    fs::create_directory(folder_);
    WriteWideModel(folder_, 512, 3072);
  }

  // That checking the weights leaves next to nothing of `file` in memory, and each slice no more;
  // of a source whose slices point into the file, that they are in memory as long as they are read.
  static void ExpectDropped(const fs::path& model, const fs::path& file, bool points_into_file) {
    const PlannedFiles opened = OpenPlanned(model);
    // The kernel maps up to 64 KB around what is read first, at either end of some 20 tensors.
    const std::size_t most = fs::file_size(file) / 4;
    EXPECT_LT(ResidentBytes(file), most) << "once it is checked";
    for (const TensorSpec& spec : RequiredTensors(opened.plan)) {
      {
        const HostSlice host = opened.weights->Slice(spec, {0, spec.rows, 0, spec.cols});
        Touch(BytesOf(host.slice));
        if (points_into_file && BytesOf(host.slice).size() > most / 4) {
          EXPECT_GE(ResidentBytes(file) + 8192, BytesOf(host.slice).size()) << spec.name;
        }
      }
      EXPECT_LT(ResidentBytes(file), most) << spec.name;
    }
  }

  const TempDir dir_;
  const fs::path folder_ = dir_.path() / "in";
};

TEST_F(LoadingMemoryTest, SafetensorsAreDroppedTensorByTensor) {
  ExpectDropped(folder_, folder_ / "model.safetensors", true);
}

TEST_F(LoadingMemoryTest, QuantizedSafetensorsAreDroppedTensorByTensor) {
  const fs::path awq = dir_.path() / "awq";
  ASSERT_TRUE(Requantize(folder_, awq, RequantizedAs::kAwqGemm).ok());
  ExpectDropped(awq, awq / "model.safetensors", false);
}

// Of a llama queries and keys are copied, as their rows are in another order.
TEST_F(LoadingMemoryTest, GgufIsDroppedTensorByTensor) {
  const fs::path file = dir_.path() / "x.gguf";
  GgufWriter writer;
  AddValues(folder_, writer);
  AddTensors(folder_, Encoding::kQ8_0, writer);
  WriteFile(file, writer.File());
  ExpectDropped(file, file, false);
  EXPECT_EQ(OpenPlanned(file).plan.embedding.spec.encoding, Encoding::kQ8_0);
}

// Sizes of weights, in the order in which they are asked for.
class SizesInOrder final : public WeightSource {
 public:
  explicit SizesInOrder(std::vector<std::int64_t>& sizes) : sizes_(sizes) {}

  HostSlice Slice(const TensorSpec& spec, const Region& region) const override {
    sizes_.push_back(kernels::BytesOf(spec.encoding, region.rows * region.cols));
    HostSlice host;
    host.slice = {.encoding = spec.encoding,
                  .rows = region.rows,
                  .cols = region.cols,
                  .row_stride = region.cols};
    return host;
  }
  std::uint64_t identity() const override { return 0; }
  std::string stored_as() const override { return "sizes"; }

 private:
  std::vector<std::int64_t>& sizes_;
};

// Vocabulary and widths of qwen-1.5b, where embedding and head are more than a quarter.
ModelPlan LargePlan() {
  ModelConfig config = *LoadModelConfig(ModelDir("llama"));
  config.vocab_size = 151936;
  config.hidden_size = 1536;
  config.intermediate_size = 8960;
  config.num_layers = 28;
  return MakePlan(config);
}

// The bytes of a model on such a device; `sizes` of the tensors that it asked for.
std::int64_t BytesOf(const ModelPlan& plan, const kernels::Capabilities& device,
                     std::vector<std::int64_t>& sizes) {
  CountingBackend backend(device);
  const RankShape shape = ShapeOfRank(plan, 0, 1);
  const SizesInOrder source(sizes);
  const std::vector<float> rope(static_cast<std::size_t>(plan.config.head_dim));
  return RankModel(plan, {shape, source, backend}, 16, rope).bytes();
}

TEST(ModelMemoryTest, AnEmbeddingStaysPackedOnACpuAlone) {
  ModelPlan plan = LargePlan();
  SetMatrixEncoding(Encoding::kQ8_0, plan);
  plan.embedding.spec.encoding = Encoding::kQ8_0;
  std::vector<std::int64_t> sizes;
  const std::int64_t cpu = BytesOf(plan, {.name = "cpu"}, sizes);
  EXPECT_EQ(cpu, std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
  const kernels::Capabilities gpu = {.name = "sm_90", .kind = kernels::DeviceKind::kCuda};
  const std::int64_t elements = plan.embedding.spec.rows * plan.embedding.spec.cols;
  EXPECT_EQ(BytesOf(plan, gpu, sizes) - cpu,
            2 * elements - kernels::BytesOf(Encoding::kQ8_0, elements));
}

// Beside what is made already stand up to three matrices of the files, which are fused to one.
TEST(ModelMemoryTest, WhatIsMadeAndItsFilesAreLittleMoreThanTheModel) {
  std::vector<std::int64_t> sizes;
  const std::int64_t whole = BytesOf(LargePlan(), {.name = "cpu"}, sizes);
  std::int64_t made = 0;
  std::int64_t peak = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    made += sizes[i];
    std::int64_t read = 0;
    for (std::size_t j = i - std::min<std::size_t>(i, 2); j <= i; ++j) read += sizes[j];
    peak = std::max(peak, made + read);
  }
  EXPECT_LT(static_cast<double>(peak), 1.05 * static_cast<double>(whole));
}

}  // namespace
}  // namespace thinkwire::worker::model
