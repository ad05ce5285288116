#include <cstring>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/segmented_attention.h"

// Grouped-query attention: blocks hold keys as [K, D, B] and values as [K, B, D].
namespace thinkwire::worker::kernels {
namespace {

class HeadsLayout final : public AttentionLayout {
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

 private:
  const KvLayer& kv_;
  const std::int64_t dim_;
  const std::int64_t heads_;
  const float* const q_;
  float* const out_;
};

}  // namespace

void CpuBackend::PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                                float scale, const Tensor& out) {
  if (batch.num_tokens == 0) return;
  RunAttention(rows_, pool_, batch, HeadsLayout(q, batch, kv, out), scale, attention_);
}

}  // namespace thinkwire::worker::kernels
