#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/mapped_file.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::model {

// A tensor that the model needs, by its name in a Hugging Face checkpoint. A vector has cols 1.
// `encoding` is how the device keeps it; a source may hold it in another that becomes this one.
// Columns that are `reordered` stand in an order of their own, which no rank parts.
struct TensorSpec {
  std::string name;
  std::int64_t rows = 0;
  std::int64_t cols = 1;
  bool is_vector = false;
  kernels::Encoding encoding = kernels::Encoding::kBf16;
  bool reordered = false;
};

// The name of the token embedding, which is drawn with another variance than other matrices.
inline constexpr char kEmbeddingName[] = "model.embed_tokens.weight";
inline constexpr char kHeadName[] = "lm_head.weight";

// Whether a tensor is one that some writers keep though it says nothing new: the rotary
// frequencies, which config.json gives.
bool IsRotaryBuffer(absl::string_view tensor);

// A part of one tensor.
struct Region {
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t first_col = 0;
  std::int64_t cols = 1;
};

// Ends the process unless `region` lies within the tensor and parts no columns that share a scale
// in `encoding`, the one in which a source holds it.
void CheckRegion(const TensorSpec& spec, const Region& region, kernels::Encoding encoding);

// "bf16"
absl::string_view NameOf(kernels::Encoding encoding);

// Host memory of a region. `slice` points into `owned` or into what the source keeps alive, of
// which `read` are the pages of a file that this slice alone wants in memory.
struct HostSlice {
  kernels::WeightSlice slice;
  std::vector<std::byte> owned;
  MappedRead read;
};

// From a slice's first byte to its last.
std::span<const std::byte> BytesOf(const kernels::WeightSlice& slice);

// Where weights come from. Threads: Slice from any; nothing changes once it exists.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // REQUIRES: `spec` is one of the plan's tensors, `region` lies within it.
  virtual HostSlice Slice(const TensorSpec& spec, const Region& region) const = 0;

  // Equal for equal weights.
  virtual std::uint64_t identity() const = 0;

  // How they are stored: "BF16", "BF16 and F32", "random". Everything is computed in bf16.
  virtual std::string stored_as() const = 0;
};

}  // namespace thinkwire::worker::model
