#include "tests/worker/model/wide_model.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "common/check.h"
#include "tests/worker/model/model_files.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/unpack_row.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/checkpoint/model_plan.h"

namespace thinkwire::worker::model {

namespace fs = std::filesystem;
using nlohmann::json;

void WriteWideModel(const fs::path& dir, std::int64_t hidden, std::int64_t ffn,
                    std::int64_t head_dim) {
  CopyModel("llama", dir);
  json config = json::parse(ReadFile(dir / "config.json"));
  config["hidden_size"] = hidden;
  config["head_dim"] = head_dim;
  config["intermediate_size"] = ffn;
  WriteFile(dir / "config.json", config.dump());
  for (int i = 1; i <= 4; ++i) {
    fs::remove(dir / ("model-0000" + std::to_string(i) + "-of-00004.safetensors"));
  }
  fs::remove(dir / "model.safetensors.index.json");
  json header;
  std::string data;
  std::uint32_t state = 1;
  for (const TensorSpec& spec : RequiredTensors(MakePlan(LoadModelConfig(dir).value()))) {
    const std::size_t begin = data.size();
    for (std::int64_t i = 0; i < spec.rows * spec.cols; ++i) {
      state = state * 1664525U + 1013904223U;
      const float value = (static_cast<float>(state >> 8) * 0x1p-24F - 0.5F) * 0.1F;
      const std::uint16_t bits = kernels::Bf16FromF32(value);
      data.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
    }
    json shape = {spec.rows};
    if (!spec.is_vector) shape.push_back(spec.cols);
    header[spec.name] = {
        {"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  }
  WriteFile(dir / "model.safetensors", Safetensors(header, data));
}

PlannedFiles OpenPlanned(const std::filesystem::path& path) {
  const auto files = OpenModelFiles(path);
  PlannedFiles opened = {.plan = MakePlan(files->Config().value()), .weights = nullptr};
  opened.weights = files->Weights(opened.plan).value();
  return opened;
}

std::vector<float> FloatsOf(const WeightSource& source, const TensorSpec& spec) {
  const HostSlice slice =
      source.Slice(spec, {.first_row = 0, .rows = spec.rows, .first_col = 0, .cols = spec.cols});
  std::vector<float> values(static_cast<std::size_t>(spec.rows * spec.cols));
  for (std::int64_t row = 0; row < spec.rows; ++row) {
    float* to = values.data() + row * spec.cols;
    if (kernels::IsPacked(slice.slice.encoding)) {
      kernels::UnpackRow(slice.slice.encoding, slice.slice.row(row), spec.cols, to);
      continue;
    }
    if (slice.slice.encoding == kernels::Encoding::kF32) {
      std::memcpy(to, slice.slice.row(row), static_cast<std::size_t>(spec.cols) * sizeof(float));
      continue;
    }
    CHECK(slice.slice.encoding == kernels::Encoding::kBf16, "one of the three");
    for (std::int64_t i = 0; i < spec.cols; ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, slice.slice.row(row) + 2 * i, sizeof(bits));
      to[i] = kernels::F32FromBf16(bits);
    }
  }
  return values;
}

}  // namespace thinkwire::worker::model
