#include "worker/model/layers/kv_cache.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int64_t kDefaultTokensASlot = 4096;

std::int64_t MemInfoAvailable() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::string unit;
  std::int64_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    std::getline(file, unit);
  }
  return 0;
}

// What the control group still allows; no limit reads as "max" and gives none here.
std::int64_t ControlGroupAvailable() {
  std::ifstream limit_file("/sys/fs/cgroup/memory.max");
  std::ifstream used_file("/sys/fs/cgroup/memory.current");
  std::int64_t limit = 0;
  std::int64_t used = 0;
  if (!(limit_file >> limit) || !(used_file >> used)) {
    return std::numeric_limits<std::int64_t>::max();
  }
  return std::max<std::int64_t>(0, limit - used);
}

}  // namespace

std::int64_t KvLayout::block_bytes() const {
  std::int64_t token_bytes = 0;
  for (const Plane& plane : planes) {
    token_bytes += plane.token_elements * static_cast<std::int64_t>(kernels::SizeOf(plane.dtype));
  }
  return token_bytes * block_tokens * num_layers;
}

KvLayout GroupedQueryKvLayout(const ModelConfig& config, const RankShape& shape,
                              std::int32_t block_tokens, kernels::DType dtype) {
  const KvLayout::Plane plane = {shape.num_kv_heads * config.head_dim, dtype};
  KvLayout layout;
  layout.planes = {plane, plane};
  layout.num_layers = config.num_layers;
  layout.num_kv_heads = static_cast<std::int32_t>(shape.num_kv_heads);
  layout.head_dim = static_cast<std::int32_t>(config.head_dim);
  layout.block_tokens = block_tokens;
  return layout;
}

absl::StatusOr<std::int32_t> ChooseNumBlocks(const KvCacheDemand& demand) {
  const auto blocks_of = [&demand](std::int64_t tokens) {
    return (tokens + demand.block_tokens - 1) / demand.block_tokens;
  };
  const std::int64_t most = demand.max_num_seqs * blocks_of(demand.max_model_len);
  std::int64_t memory = demand.memory_bytes;
  if (memory == 0) {
    const std::int64_t tokens = std::min<std::int64_t>(demand.max_model_len, kDefaultTokensASlot);
    const std::int64_t wanted = demand.max_num_seqs * blocks_of(tokens);
    memory = std::min(wanted * demand.block_bytes, demand.available_bytes / 2);
  }
  const std::int64_t blocks = std::min(most, memory / demand.block_bytes);
  if (blocks < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the KV cache's ", memory, " bytes hold no block of ", demand.block_tokens,
                     " tokens, which needs ", demand.block_bytes, " bytes"));
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(std::min(blocks, kMost));
}

std::int64_t AvailableHostMemory() { return std::min(MemInfoAvailable(), ControlGroupAvailable()); }

KvCache::KvCache(const KvLayout& layout, std::int32_t num_blocks, kernels::Backend& backend) {
  CHECK(layout.planes.size() == 2, "grouped-query attention keeps keys and values");
  for (std::int64_t i = 0; i < layout.num_layers; ++i) {
    kernels::KvLayer layer = {.planes = {},
                              .num_kv_heads = layout.num_kv_heads,
                              .block_tokens = layout.block_tokens,
                              .head_dim = layout.head_dim};
    for (std::size_t p = 0; p < 2; ++p) {
      const KvLayout::Plane& plane = layout.planes[p];
      const std::int64_t block_elements = plane.token_elements * layout.block_tokens;
      planes_.push_back(backend.Allocate(static_cast<std::size_t>(num_blocks * block_elements) *
                                         kernels::SizeOf(plane.dtype)));
      layer.planes[p] =
          kernels::MakeTensor(planes_.back().data(), plane.dtype, num_blocks, block_elements);
    }
    layers_.push_back(layer);
  }
}

}  // namespace thinkwire::worker::model
