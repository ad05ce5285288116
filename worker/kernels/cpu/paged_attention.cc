#include <cstring>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/segmented_attention.h"

// Grouped-query attention: blocks hold keys as [K, D, B] and values as [K, B, D].
//
// FP8 keys and values are widened to f32 a tile at a time, for all queries of a unit, and enter the
// same sums: scores times scale and the keys' scale, results times the values'.
namespace thinkwire::worker::kernels {
namespace {

class HeadsLayout : public AttentionLayout {
 public:
  HeadsLayout(const Tensor& q, const BatchView& batch, const KvLayer& kv, const Tensor& out)
      : kv_(kv),
        dim_(kv.head_dim),
        heads_(q.size() / batch.num_tokens / dim_),
        q_(q.as<float>()),
        out_(out.as<float>()) {
    Check(q.size() == batch.num_tokens * heads_ * dim_ && out.size() == q.size(),
          "q, out are [T, H, D]");
  }

  std::int64_t num_heads() const override { return heads_; }
  std::int64_t num_kv_heads() const override { return kv_.num_kv_heads; }
  std::int64_t dim() const override { return dim_; }
  std::int64_t result_dim() const override { return dim_; }

  void CopyQuery(std::int64_t token, std::int64_t head, float* to) const override {
    std::memcpy(to, q_ + (token * heads_ + head) * dim_,
                static_cast<std::size_t>(dim_) * sizeof(float));
  }
  float* Result(std::int64_t token, std::int64_t head) const override {
    return out_ + (token * heads_ + head) * dim_;
  }

  // Keys are read in place where a group of sixteen lies in one block, else from a staged copy.
  void PointAtKeys(const std::int32_t* blocks, std::int64_t kv_head, std::int64_t first,
                   std::int64_t count, float* staged, AttentionTile* tile) const override {
    const std::int64_t block_tokens = kv_.block_tokens;
    const float* const keys = kv_.keys().as<float>();
    const float* const values = kv_.values().as<float>();
    const bool in_place = block_tokens % kKeyGroup == 0;
    tile->key_stride = in_place ? block_tokens : kTileKeys;
    for (std::int64_t j = 0; j < count; ++j) {
      const std::int64_t offset = (first + j) % block_tokens;
      const std::int64_t block = blocks[(first + j) / block_tokens];
      const std::int64_t base = (block * kv_.num_kv_heads + kv_head) * block_tokens * dim_;
      tile->values[j] = values + base + offset * dim_;
      if (in_place) {
        if (j % kKeyGroup == 0) tile->keys[j / kKeyGroup] = keys + base + offset;
        continue;
      }
      tile->keys[j / kKeyGroup] = staged + j / kKeyGroup * kKeyGroup;
      for (std::int64_t d = 0; d < dim_; ++d) {
        staged[d * kTileKeys + j] = keys[base + d * block_tokens + offset];
      }
    }
  }

 protected:
  const KvLayer& kv_;
  const std::int64_t dim_;

 private:
  const std::int64_t heads_;
  const float* const q_;
  float* const out_;
};

// The same of codes of e4m3.
class Fp8HeadsLayout final : public HeadsLayout {
 public:
  Fp8HeadsLayout(const RowKernels& rows, const Tensor& q, const BatchView& batch, const KvLayer& kv,
                 const Tensor& out)
      : HeadsLayout(q, batch, kv, out), rows_(rows) {
    Check(kv.block_tokens % kKeyGroup == 0, "FP8 blocks hold a multiple of 16 tokens");
  }

  // Groups of sixteen: of keys D rows of sixteen tokens, of values as many codes in a row.
  void PointAtKeys(const std::int32_t* blocks, std::int64_t kv_head, std::int64_t first,
                   std::int64_t count, float* staged, AttentionTile* tile) const override {
    const std::int64_t block_tokens = kv_.block_tokens;
    tile->key_stride = kKeyGroup;
    for (std::int64_t j = 0; j < count; j += kKeyGroup) {
      const std::int64_t block = blocks[(first + j) / block_tokens];
      const std::int64_t base = (block * kv_.num_kv_heads + kv_head) * block_tokens * dim_;
      const std::int64_t offset = (first + j) % block_tokens;
      float* const keys = staged + j * dim_;
      float* const values = keys + dim_ * kTileKeys;
      rows_.widen_e4m3(kv_.keys().as<std::uint8_t>() + base + offset, block_tokens, dim_, keys);
      rows_.widen_e4m3(kv_.values().as<std::uint8_t>() + base + offset * dim_, kKeyGroup, dim_,
                       values);
      tile->keys[j / kKeyGroup] = keys;
      for (std::int64_t i = 0; i < kKeyGroup; ++i) tile->values[j + i] = values + i * dim_;
    }
  }

 private:
  const RowKernels& rows_;
};

}  // namespace

void CpuBackend::PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                                float scale, const Tensor& out) {
  if (batch.num_tokens == 0) return;
  if (kv.keys().dtype != DType::kE4m3) {
    RunAttention(rows_, pool_, batch, HeadsLayout(q, batch, kv, out), scale, attention_);
    return;
  }
  RunAttention(rows_, pool_, batch, Fp8HeadsLayout(rows_, q, batch, kv, out),
               scale * kv.scales.keys, attention_);
  auto* const results = out.as<float>();
  pool_.For(out.size(), 1 << 14, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) results[i] *= kv.scales.values;
  });
}

}  // namespace thinkwire::worker::kernels
