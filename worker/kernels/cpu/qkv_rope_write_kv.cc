#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/e4m3.h"

// q, k, v = x W^T + bias; q and k rotated by their position; k and v written to their block.
//   rotated[i]       = fma(-x[i + D/2], sin, x[i] * cos)
//   rotated[i + D/2] = fma( x[i],       sin, x[i + D/2] * cos)
namespace thinkwire::worker::kernels {
namespace {

// Where one head of a token lies: keys [D, B] and values [B, D] of its block.
struct HeadPlace {
  std::int64_t head = 0;  // elements from the planes' start
  std::int64_t offset = 0;
};

template <class Element, class Keep>
void WriteHead(const KvLayer& kv, const HeadPlace& place, const float* key, const float* value,
               Keep keep) {
  Element* const keys = kv.keys().as<Element>() + place.head + place.offset;
  Element* const values = kv.values().as<Element>() + place.head + place.offset * kv.head_dim;
  for (std::int64_t d = 0; d < kv.head_dim; ++d) {
    keys[d * kv.block_tokens] = keep(key[d], 1.0F / kv.scales.keys);
    values[d] = keep(value[d], 1.0F / kv.scales.values);
  }
}

void WriteHead(const KvLayer& kv, const HeadPlace& place, const float* key, const float* value) {
  if (kv.keys().dtype == DType::kF32) {
    WriteHead<float>(kv, place, key, value, [](float x, float) { return x; });
  } else {
    WriteHead<std::uint8_t>(kv, place, key, value, [](float x, float inverse) {
      return E4m3FromFloat<void>(x * inverse);
    });
  }
}

}  // namespace

void CpuBackend::QkvRopeWriteKv(const Tensor& x, const LinearWeight& qkv, const Tensor& rope,
                                const BatchView& batch, const KvLayer& kv, const Tensor& q) {
  const CpuLinearWeight& w = CpuLinearWeight::From(qkv);
  const std::int64_t dim = kv.head_dim;
  const std::int64_t block_tokens = kv.block_tokens;
  const std::int64_t kv_heads = kv.num_kv_heads;
  const std::int64_t heads = w.out_features() / dim - 2 * kv_heads;
  const std::int64_t width = w.out_features();
  Check(w.layout() == LinearLayout::kQkv, "QkvRopeWriteKv takes a QKV weight");
  Check(dim > 0 && dim % 2 == 0 && heads > 0 && (heads + 2 * kv_heads) * dim == width,
        "qkv has (H + 2K) * D rows");
  Check(x.dim(0) == batch.num_tokens && q.size() == batch.num_tokens * heads * dim,
        "x is [T, E], q is [T, H, D]");
  Check(rope.rank == 2 && rope.dtype == DType::kF32 && rope.dim(1) == dim,
        "rope is f32 [positions, D]");

  qkv_.resize(static_cast<std::size_t>(x.dim(0) * width));
  ApplyRows(x, w, qkv_.data());

  const std::int64_t block_elements = kv_heads * block_tokens * dim;
  Check(kv.keys().size() % block_elements == 0 && kv.values().size() == kv.keys().size(),
        "a KV block holds K * B * D elements");
  const DType kept = kv.keys().dtype;
  Check((kept == DType::kF32 || kept == DType::kE4m3) && kv.values().dtype == kept,
        "the CPU keeps keys and values in f32 or e4m3");
  const int half = static_cast<int>(dim / 2);
  pool_.For(batch.num_tokens, 8, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> rotated(static_cast<std::size_t>(dim));
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int32_t seq = batch.token_seq[t];
      if (seq < 0) continue;
      const std::int64_t position = batch.positions[t];
      Check(position >= 0 && position < rope.dim(0), "a position is within the rope table");
      const float* cosines = rope.as<float>() + position * dim;
      const float* row = qkv_.data() + t * width;
      for (std::int64_t h = 0; h < heads; ++h) {
        rows_.rotate(row + h * dim, cosines, cosines + half, q.as<float>() + (t * heads + h) * dim,
                     half);
      }
      const std::int64_t index = position / block_tokens;
      Check(index < batch.max_blocks, "a position is within the block table");
      const std::int64_t block =
          batch.block_tables[std::int64_t{batch.seq_slot[seq]} * batch.max_blocks + index];
      Check(block >= 0 && (block + 1) * block_elements <= kv.keys().size(), "a block is below N");
      const std::int64_t offset = position % block_tokens;
      for (std::int64_t h = 0; h < kv_heads; ++h) {
        const std::int64_t head_base = block * block_elements + h * block_tokens * dim;
        rows_.rotate(row + (heads + h) * dim, cosines, cosines + half, rotated.data(), half);
        WriteHead(kv, {head_base, offset}, rotated.data(), row + (heads + kv_heads + h) * dim);
      }
    }
  });
}

}  // namespace thinkwire::worker::kernels
