#include <cstddef>
#include <cstring>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/cpu_latent_heads.h"
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
  LatentLayout(const Tensor& queries, const KvLayer& kv, const Tensor& out)
      : queries_(queries), kv_(kv), out_(out) {
    Check(queries.rank == 3 && out.rank == 3 && queries.dim(0) == out.dim(0) &&
              queries.dim(1) == out.dim(1),
          "queries are [T, H, C + R], out is [T, H, C]");
    Check(queries.dim(2) == kv.head_dim && out.dim(2) < kv.head_dim, "keys are [C + R]");
  }

  std::int64_t num_heads() const override { return queries_.dim(1); }
  std::int64_t num_kv_heads() const override { return 1; }
  std::int64_t dim() const override { return kv_.head_dim; }
  std::int64_t result_dim() const override { return out_.dim(2); }

  void CopyQuery(std::int64_t token, std::int64_t head, float* to) const override {
    std::memcpy(to, RowOf(queries_, token, head), FloatBytes(kv_.head_dim));
  }
  float* Result(std::int64_t token, std::int64_t head) const override {
    return RowOf(out_, token, head);
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
  static float* RowOf(const Tensor& x, std::int64_t token, std::int64_t head) {
    return x.as<float>() + (token * x.dim(1) + head) * x.dim(2);
  }

  const Tensor& queries_;
  const KvLayer& kv_;
  const Tensor& out_;
};

// to [T, n] = columns [first, first + n) of x [T, any].
void TakeColumns(const Tensor& x, std::int64_t first, std::int64_t n, float* to) {
  for (std::int64_t t = 0; t < x.dim(0); ++t) {
    std::memcpy(to + t * n, x.as<float>() + t * x.dim(1) + first, FloatBytes(n));
  }
}

}  // namespace

void CpuBackend::WriteLatents(const LatentKeys& keys, const PairRotation& rotation,
                              const BatchView& batch, const KvLayer& kv) {
  const std::int64_t width = keys.norm.dim(0);
  Check(width + rotation.table.dim(1) == kv.head_dim && keys.rows.dim(1) == kv.head_dim,
        "keys are [C + R]");
  latents_.resize(static_cast<std::size_t>(keys.rows.dim(0) * width));
  const Tensor latents = MakeTensor(latents_.data(), DType::kF32, keys.rows.dim(0), width);
  TakeColumns(keys.rows, 0, width, latents_.data());
  RmsNorm(latents, keys.norm, keys.eps, latents);
  for (std::int64_t t = 0; t < batch.num_tokens; ++t) {
    if (batch.token_seq[t] < 0) continue;
    float* const to = PlaceOf(t, batch, kv);
    std::memcpy(to, latents_.data() + t * width, FloatBytes(width));
    Rotate(keys.rows.as<float>() + t * kv.head_dim + width, rotation, batch.positions[t],
           to + width);
  }
}

void CpuBackend::AbsorbQueries(const Tensor& q, const LatentHeads& heads,
                               const PairRotation& rotation, const BatchView& batch,
                               const Tensor& out) {
  const CpuLatentHeads& of = CpuLatentHeads::From(heads);
  const LatentShape& shape = of.shape();
  const std::int64_t tokens = q.dim(0);
  Check(q.dim(1) == shape.heads * shape.query() && out.size() == tokens * shape.heads * shape.key(),
        "q is [T, H (P + R)], out is [T, H, C + R]");
  latents_.resize(static_cast<std::size_t>(tokens * (shape.plain + shape.latent)));
  const Tensor plain = MakeTensor(latents_.data(), DType::kF32, tokens, shape.plain);
  const Tensor absorbed =
      MakeTensor(latents_.data() + plain.size(), DType::kF32, tokens, shape.latent);
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    TakeColumns(q, h * shape.query(), shape.plain, plain.as<float>());
    Linear(plain, of.absorb(h), absorbed);
    for (std::int64_t t = 0; t < tokens; ++t) {
      float* const to = out.as<float>() + (t * shape.heads + h) * shape.key();
      std::memcpy(to, absorbed.as<float>() + t * shape.latent, FloatBytes(shape.latent));
      if (batch.token_seq[t] < 0) continue;
      Rotate(q.as<float>() + t * q.dim(1) + h * shape.query() + shape.plain, rotation,
             batch.positions[t], to + shape.latent);
    }
  }
}

void CpuBackend::AttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv,
                               float scale, const Tensor& out) {
  RunAttention(rows_, pool_, batch, LatentLayout(queries, kv, out), scale, attention_);
}

void CpuBackend::LatentValues(const Tensor& latents, const LatentHeads& heads,
                              std::int64_t first_head, const Tensor& out) {
  const CpuLatentHeads& of = CpuLatentHeads::From(heads);
  const LatentShape& shape = of.shape();
  const std::int64_t tokens = latents.dim(0);
  const std::int64_t count = out.dim(1) / shape.result;
  Check(first_head + count <= shape.heads && out.dim(1) == count * shape.result,
        "out is [T, n U] of heads that there are");
  latents_.resize(static_cast<std::size_t>(tokens * (shape.latent + shape.result)));
  const Tensor of_head = MakeTensor(latents_.data(), DType::kF32, tokens, shape.latent);
  const Tensor result =
      MakeTensor(latents_.data() + of_head.size(), DType::kF32, tokens, shape.result);
  const Tensor rows = MakeTensor(latents.data, latents.dtype, tokens, shape.heads * shape.latent);
  for (std::int64_t h = 0; h < count; ++h) {
    TakeColumns(rows, (first_head + h) * shape.latent, shape.latent, of_head.as<float>());
    Linear(of_head, of.value(first_head + h), result);
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::memcpy(out.as<float>() + t * out.dim(1) + h * shape.result,
                  result.as<float>() + t * shape.result, FloatBytes(shape.result));
    }
  }
}

}  // namespace thinkwire::worker::kernels
