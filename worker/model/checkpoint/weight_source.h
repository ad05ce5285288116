#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/kernels/weights.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// A tensor that the model needs. A vector has cols 1.
struct TensorSpec {
  std::string name;
  std::int64_t rows = 0;
  std::int64_t cols = 1;
  bool is_vector = false;
};

// Names of a Hugging Face Qwen2 or Llama checkpoint.
std::string LayerTensorName(std::int64_t layer, const char* suffix);
inline constexpr char kEmbeddingName[] = "model.embed_tokens.weight";
inline constexpr char kFinalNormName[] = "model.norm.weight";
inline constexpr char kHeadName[] = "lm_head.weight";

// Every tensor of the model, once.
std::vector<TensorSpec> RequiredTensors(const ModelConfig& config);

// A part of one tensor.
struct Region {
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t first_col = 0;
  std::int64_t cols = 1;
};

// Host memory of a region. `slice` points into `owned` or into what the source keeps alive.
struct HostSlice {
  kernels::WeightSlice slice;
  std::vector<std::uint16_t> owned;
};

// Where weights come from. Threads: Slice from any; nothing changes once it exists.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // REQUIRES: `spec` is one of RequiredTensors, `region` lies within it.
  virtual HostSlice Slice(const TensorSpec& spec, const Region& region) const = 0;

  // Equal for equal weights.
  virtual std::uint64_t identity() const = 0;

  // How they are stored: "BF16", "BF16 and F32", "random". Everything is computed in bf16.
  virtual std::string stored_as() const = 0;
};

}  // namespace thinkwire::worker::model
