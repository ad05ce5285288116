#include "worker/kernels/latent_attention.h"

#include <cstddef>
#include <cstring>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/segmented_attention.h"

namespace thinkwire::worker::kernels {
namespace {

std::size_t FloatBytes(std::int64_t floats) {
  return static_cast<std::size_t>(floats) * sizeof(float);
}

void Rotate(const float* x, const PairRotation& rotation, std::int64_t position, float* out) {
  const std::int64_t half = rotation.table.dim(1) / 2;
  Check(position >= 0 && position < rotation.table.dim(0), "a position is within the rope table");
  const float* const cosines = rotation.table.as<float>() + position * 2 * half;
  const float* const sines = cosines + half;
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = rotation.is_interleaved ? x[2 * i] : x[i];
    const float b = rotation.is_interleaved ? x[2 * i + 1] : x[i + half];
    out[i] = a * cosines[i] - b * sines[i];
    out[i + half] = b * cosines[i] + a * sines[i];
  }
}

// A token's place in the plane.
float* KeyAt(const KvLayer& kv, std::int64_t block, std::int64_t offset) {
  const std::int64_t block_floats = std::int64_t{kv.block_tokens} * kv.head_dim;
  return kv.planes[0].as<float>() + block * block_floats + offset * kv.head_dim;
}

float* PlaceOf(std::int64_t token, const BatchView& batch, const KvLayer& kv) {
  const std::int64_t position = batch.positions[token];
  const std::int64_t index = position / kv.block_tokens;
  Check(index < batch.max_blocks, "a position is within the block table");
  const std::int64_t slot = batch.seq_slot[batch.token_seq[token]];
  const std::int64_t block = batch.block_tables[slot * batch.max_blocks + index];
  Check(block >= 0 && block < kv.planes[0].dim(0), "a block is below N");
  return KeyAt(kv, block, position % kv.block_tokens);
}

class LatentLayout final : public AttentionLayout {
 public:
  LatentLayout(const LatentQueries& queries, const KvLayer& kv, const Tensor& out)
      : queries_(queries), kv_(kv), out_(out) {
    const Tensor& latent = queries.latent;
    const Tensor& rotated = queries.rotated;
    Check(latent.rank == 3 && rotated.rank == 3 && latent.dim(0) == rotated.dim(0) &&
              latent.dim(1) == rotated.dim(1) && out.size() == latent.size(),
          "queries are [H, T, C] and [H, T, R], out is [H, T, C]");
    Check(latent.dim(2) + rotated.dim(2) == kv.head_dim, "keys are [C + R]");
  }

  std::int64_t num_heads() const override { return queries_.latent.dim(0); }
  std::int64_t num_kv_heads() const override { return 1; }
  std::int64_t dim() const override { return kv_.head_dim; }
  std::int64_t result_dim() const override { return queries_.latent.dim(2); }

  void CopyQuery(std::int64_t token, std::int64_t head, float* to) const override {
    const std::int64_t latent = queries_.latent.dim(2);
    std::memcpy(to, RowOf(queries_.latent, head, token), FloatBytes(latent));
    std::memcpy(to + latent, RowOf(queries_.rotated, head, token),
                FloatBytes(queries_.rotated.dim(2)));
  }
  float* Result(std::int64_t token, std::int64_t head) const override {
    return RowOf(out_, head, token);
  }

  // Scores want sixteen keys side by side, so that a tile's keys are turned once for all heads.
  void PointAtKeys(const std::int32_t* blocks, std::int64_t /*kv_head*/, std::int64_t first,
                   std::int64_t count, float* staged, AttentionTile* tile) const override {
    tile->key_stride = kTileKeys;
    for (std::int64_t j = 0; j < count; ++j) {
      const std::int64_t position = first + j;
      const float* const key =
          KeyAt(kv_, blocks[position / kv_.block_tokens], position % kv_.block_tokens);
      tile->values[j] = key;
      tile->keys[j / kKeyGroup] = staged + j / kKeyGroup * kKeyGroup;
      for (std::int64_t d = 0; d < kv_.head_dim; ++d) staged[d * kTileKeys + j] = key[d];
    }
  }

 private:
  static float* RowOf(const Tensor& x, std::int64_t head, std::int64_t token) {
    return x.as<float>() + (head * x.dim(1) + token) * x.dim(2);
  }

  const LatentQueries& queries_;
  const KvLayer& kv_;
  const Tensor& out_;
};

}  // namespace

void WriteLatents(const Tensor& latents, const RotatedColumns& keys, const PairRotation& rotation,
                  const BatchView& batch, const KvLayer& kv) {
  const std::int64_t width = latents.dim(1);
  Check(width + rotation.table.dim(1) == kv.head_dim, "keys are [C + R]");
  for (std::int64_t t = 0; t < batch.num_tokens; ++t) {
    if (batch.token_seq[t] < 0) continue;
    float* const to = PlaceOf(t, batch, kv);
    std::memcpy(to, latents.as<float>() + t * width, FloatBytes(width));
    Rotate(keys.rows.as<float>() + t * keys.rows.dim(1) + keys.first, rotation, batch.positions[t],
           to + width);
  }
}

void RotateQueries(const RotatedColumns& q, std::int64_t stride, const PairRotation& rotation,
                   const BatchView& batch, const Tensor& out) {
  const std::int64_t tokens = out.dim(1);
  for (std::int64_t h = 0; h < out.dim(0); ++h) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      if (batch.token_seq[t] < 0) continue;
      Rotate(q.rows.as<float>() + t * q.rows.dim(1) + h * stride + q.first, rotation,
             batch.positions[t], out.as<float>() + (h * tokens + t) * out.dim(2));
    }
  }
}

void AttendLatents(const LatentQueries& queries, const BatchView& batch, const KvLayer& kv,
                   float scale, const Tensor& out, Backend& backend) {
  Check(backend.capabilities().kind == DeviceKind::kCpu, "latents are attended to on the CPU");
  std::vector<float> memory;
  RunAttention(RowKernelsFor(BestIsa()), static_cast<CpuBackend&>(backend).pool(), batch,
               LatentLayout(queries, kv, out), scale, memory);
}

}  // namespace thinkwire::worker::kernels
