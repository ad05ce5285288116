#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"

// Causal attention over paged keys and values. One query's result: tiles of 64 keys at absolute
// positions enter an online softmax in ascending order (attention_kernel.h) within a segment of 512
// positions; segments are merged in ascending order; acc / sum. Nothing else fixes the bits: not
// the block size, nor the queries that are computed together, nor who computes a segment.
//
// FP8 keys and values are widened to f32 a tile at a time, for all queries of a unit, and enter the
// same sums: scores times scale and the keys' scale, results times the values'.
//
// A unit of work is some consecutive tokens of a sequence for one KV head: their queries read each
// tile once. If the units are too few for the threads, as in decode, their segments are spread too.
namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kSegmentKeys = 512;
constexpr int kMostQueries = 32;  // a unit's; one token's where a KV head serves more

struct Unit {
  std::int32_t seq = 0;
  std::int32_t first_token = 0;
  std::int32_t num_tokens = 0;
  std::int64_t kv_head = 0;
};

// Running softmax of a unit's queries.
struct State {
  float* max;  // [queries]
  float* sum;  // [queries]
  float* acc;  // [queries, D]

  State(float* memory, std::int64_t queries)
      : max(memory), sum(memory + queries), acc(memory + 2 * queries) {}
  static std::int64_t Floats(std::int64_t queries, std::int64_t dim) { return queries * (dim + 2); }

  void Clear(std::int64_t queries, std::int64_t dim) const {
    std::fill_n(max, queries, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, queries * (dim + 1), 0.0F);
  }
};

class Attention {
 public:
  Attention(const RowKernels& rows, const Tensor& q, const BatchView& batch, const KvLayer& kv,
            float scale, const Tensor& out)
      : rows_(rows),
        batch_(batch),
        kv_(kv),
        scale_(scale * kv.scales.keys),
        dim_(kv.head_dim),
        heads_(batch.num_tokens == 0 ? 0 : q.size() / batch.num_tokens / dim_),
        group_(heads_ / kv.num_kv_heads),
        q_(q.as<float>()),
        out_(out.as<float>()) {
    Check(q.size() == batch.num_tokens * heads_ * dim_ && out.size() == q.size() &&
              group_ * kv.num_kv_heads == heads_,
          "q, out are [T, H, D] with H a multiple of K");
    Check(!is_fp8() || kv.block_tokens % kKeyGroup == 0, "FP8 blocks hold a multiple of 16 tokens");
    most_queries_ = std::max<std::int64_t>(group_, kMostQueries / group_ * group_);
  }

  std::vector<Unit> Units() const {
    std::vector<Unit> units;
    const auto step = static_cast<std::int32_t>(most_queries_ / group_);
    for (std::int32_t s = 0; s < batch_.num_seqs; ++s) {
      for (std::int32_t t = batch_.query_start[s]; t < batch_.query_start[s + 1]; t += step) {
        const std::int32_t n = std::min(step, batch_.query_start[s + 1] - t);
        for (std::int64_t h = 0; h < kv_.num_kv_heads; ++h) units.push_back({s, t, n, h});
      }
    }
    return units;
  }

  std::int64_t state_floats() const { return State::Floats(most_queries_, dim_); }
  // Scratch of one thread: gathered queries, scores, staged keys, and values where they are FP8.
  std::int64_t scratch_floats() const {
    return most_queries_ * (dim_ + kTileKeys) + (is_fp8() ? 2 : 1) * dim_ * kTileKeys;
  }
  std::int64_t Segments(const Unit& unit) const { return LastPosition(unit) / kSegmentKeys + 1; }

  // Computes one segment of the unit into `memory`.
  void ComputeSegment(const Unit& unit, std::int64_t segment, float* scratch, float* memory) const {
    const std::int64_t queries = unit.num_tokens * group_;
    const State state(memory, queries);
    state.Clear(queries, dim_);
    for (std::int64_t i = 0; i < queries; ++i) {
      const std::int64_t row = (unit.first_token + i / group_) * heads_ + unit.kv_head * group_;
      std::memcpy(scratch + i * dim_, q_ + (row + i % group_) * dim_,
                  static_cast<std::size_t>(dim_) * sizeof(float));
    }
    const std::int64_t first = segment * kSegmentKeys;
    const std::int64_t end = std::min(first + kSegmentKeys, LastPosition(unit) + 1);
    for (std::int64_t tile = first; tile < end; tile += kTileKeys) {
      ComputeTile(unit, tile, std::min<std::int64_t>(kTileKeys, end - tile), scratch, state);
    }
  }

  // Merges segment `segment`, in ascending order, for the queries that reach it.
  void Merge(const Unit& unit, std::int64_t segment, float* total, float* later) const {
    const std::int64_t queries = unit.num_tokens * group_;
    const State to(total, queries);
    const State from(later, queries);
    for (std::int64_t i = 0; i < queries; ++i) {
      if (Position(unit, i) < segment * kSegmentKeys) continue;
      rows_.merge(to.max + i, to.sum + i, to.acc + i * dim_, from.max[i], from.sum[i],
                  from.acc + i * dim_, static_cast<int>(dim_));
    }
  }

  void Finish(const Unit& unit, float* total) const {
    const std::int64_t queries = unit.num_tokens * group_;
    const State state(total, queries);
    for (std::int64_t i = 0; i < queries; ++i) {
      const std::int64_t row = (unit.first_token + i / group_) * heads_ + unit.kv_head * group_;
      float* const out = out_ + (row + i % group_) * dim_;
      rows_.divide(state.acc + i * dim_, state.sum[i], out, dim_);
      for (std::int64_t d = 0; d < dim_ && is_fp8(); ++d) out[d] *= kv_.scales.values;
    }
  }

 private:
  bool is_fp8() const { return kv_.keys().dtype == DType::kE4m3; }
  std::int64_t Position(const Unit& unit, std::int64_t query) const {
    return batch_.positions[unit.first_token + query / group_];
  }
  std::int64_t LastPosition(const Unit& unit) const {
    return batch_.positions[unit.first_token + unit.num_tokens - 1];
  }

  void ComputeTile(const Unit& unit, std::int64_t tile_start, std::int64_t tile_keys,
                   float* scratch, const State& state) const {
    const std::int64_t queries = unit.num_tokens * group_;
    std::vector<int> num_keys(static_cast<std::size_t>(queries));
    for (std::int64_t i = 0; i < queries; ++i) {
      const std::int64_t seen = Position(unit, i) + 1 - tile_start;
      num_keys[static_cast<std::size_t>(i)] =
          static_cast<int>(std::clamp<std::int64_t>(seen, 0, tile_keys));
    }
    AttentionTile tile;
    tile.q = scratch;
    tile.q_stride = dim_;
    tile.num_queries = static_cast<int>(queries);
    tile.head_dim = static_cast<int>(dim_);
    tile.scale = scale_;
    tile.num_keys = num_keys.data();
    tile.max = state.max;
    tile.sum = state.sum;
    tile.acc = state.acc;
    tile.scores = scratch + most_queries_ * dim_;
    float* const staged = tile.scores + most_queries_ * kTileKeys;
    if (is_fp8()) {
      WidenKeys(unit, tile_start, tile_keys, staged, &tile);
    } else {
      PointAtKeys(unit, tile_start, tile_keys, staged, &tile);
    }
    rows_.attend(tile);
  }

  // The block that holds a position of the unit's sequence.
  std::int64_t BlockOf(const Unit& unit, std::int64_t position) const {
    const std::int64_t slot = batch_.seq_slot[unit.seq];
    return batch_.block_tables[slot * batch_.max_blocks + position / kv_.block_tokens];
  }

  // Groups of sixteen: of keys D rows of sixteen tokens, of values as many codes in a row.
  void WidenKeys(const Unit& unit, std::int64_t tile_start, std::int64_t tile_keys, float* staged,
                 AttentionTile* tile) const {
    tile->key_stride = kKeyGroup;
    for (std::int64_t j = 0; j < tile_keys; j += kKeyGroup) {
      const std::int64_t head = BlockOf(unit, tile_start + j) * kv_.num_kv_heads + unit.kv_head;
      const std::int64_t base = head * kv_.block_tokens * dim_;
      const std::int64_t offset = (tile_start + j) % kv_.block_tokens;
      float* const keys = staged + j * dim_;
      float* const values = keys + dim_ * kTileKeys;
      rows_.widen_e4m3(kv_.keys().as<std::uint8_t>() + base + offset, kv_.block_tokens, dim_, keys);
      rows_.widen_e4m3(kv_.values().as<std::uint8_t>() + base + offset * dim_, kKeyGroup, dim_,
                       values);
      tile->keys[j / kKeyGroup] = keys;
      for (std::int64_t i = 0; i < kKeyGroup; ++i) tile->values[j + i] = values + i * dim_;
    }
  }

  // Keys are read in place where a group of sixteen lies in one block, else from a staged copy.
  void PointAtKeys(const Unit& unit, std::int64_t tile_start, std::int64_t tile_keys, float* staged,
                   AttentionTile* tile) const {
    const std::int64_t block_tokens = kv_.block_tokens;
    const std::int32_t* table =
        batch_.block_tables + std::int64_t{batch_.seq_slot[unit.seq]} * batch_.max_blocks;
    const float* const keys = kv_.keys().as<float>();
    const float* const values = kv_.values().as<float>();
    const bool in_place = block_tokens % kKeyGroup == 0;
    tile->key_stride = in_place ? block_tokens : kTileKeys;
    for (std::int64_t j = 0; j < tile_keys; ++j) {
      const std::int64_t position = tile_start + j;
      const std::int64_t offset = position % block_tokens;
      const std::int64_t block = table[position / block_tokens];
      const std::int64_t base = (block * kv_.num_kv_heads + unit.kv_head) * block_tokens * dim_;
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

  const RowKernels& rows_;
  const BatchView& batch_;
  const KvLayer& kv_;
  const float scale_;
  const std::int64_t dim_;
  const std::int64_t heads_;
  const std::int64_t group_;  // query heads of a KV head
  std::int64_t most_queries_ = 0;
  const float* const q_;
  float* const out_;
};

}  // namespace

void CpuBackend::PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                                float scale, const Tensor& out) {
  if (batch.num_tokens == 0) return;
  const Attention attention(rows_, q, batch, kv, scale, out);
  const std::vector<Unit> units = attention.Units();
  const auto num_units = static_cast<std::int64_t>(units.size());
  const std::int64_t state = attention.state_floats();
  const std::int64_t scratch = attention.scratch_floats();
  std::int64_t most_segments = 1;
  for (const Unit& unit : units) most_segments = std::max(most_segments, attention.Segments(unit));
  const bool spread = most_segments > 1 && num_units < 4 * pool_.num_threads();

  const std::int64_t threads = pool_.num_threads();
  const std::int64_t states = spread ? num_units * most_segments : 2 * threads;
  attention_.resize(static_cast<std::size_t>(threads * scratch + states * state));
  float* const state_memory = attention_.data() + threads * scratch;
  const auto unit_at = [&](std::int64_t i) -> const Unit& {
    return units[static_cast<std::size_t>(i)];
  };

  if (spread) {
    pool_.For(num_units * most_segments, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Unit& unit = unit_at(i / most_segments);
        if (i % most_segments >= attention.Segments(unit)) continue;
        attention.ComputeSegment(unit, i % most_segments, attention_.data() + thread * scratch,
                                 state_memory + i * state);
      }
    });
    for (std::int64_t u = 0; u < num_units; ++u) {
      float* const total = state_memory + u * most_segments * state;
      for (std::int64_t s = 1; s < attention.Segments(unit_at(u)); ++s) {
        attention.Merge(unit_at(u), s, total, total + s * state);
      }
      attention.Finish(unit_at(u), total);
    }
    return;
  }
  pool_.For(num_units, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* const total = state_memory + 2 * thread * state;
    for (std::int64_t u = begin; u < end; ++u) {
      for (std::int64_t s = 0; s < attention.Segments(unit_at(u)); ++s) {
        attention.ComputeSegment(unit_at(u), s, attention_.data() + thread * scratch,
                                 s == 0 ? total : total + state);
        if (s > 0) attention.Merge(unit_at(u), s, total, total + state);
      }
      attention.Finish(unit_at(u), total);
    }
  });
}

}  // namespace thinkwire::worker::kernels
