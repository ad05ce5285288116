#include "worker/kernels/cpu/segmented_attention.h"

#include <algorithm>
#include <limits>

#include "worker/kernels/check.h"

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
  Attention(const RowKernels& rows, const BatchView& batch, const AttentionLayout& layout,
            float scale)
      : rows_(rows),
        batch_(batch),
        layout_(layout),
        scale_(scale),
        dim_(layout.dim()),
        group_(layout.num_heads() / layout.num_kv_heads()),
        most_queries_(std::max<std::int64_t>(group_, kMostQueries / group_ * group_)) {
    Check(group_ * layout.num_kv_heads() == layout.num_heads(), "H is a multiple of K");
  }

  std::vector<Unit> Units() const {
    std::vector<Unit> units;
    const auto step = static_cast<std::int32_t>(most_queries_ / group_);
    for (std::int32_t s = 0; s < batch_.num_seqs; ++s) {
      for (std::int32_t t = batch_.query_start[s]; t < batch_.query_start[s + 1]; t += step) {
        const std::int32_t n = std::min(step, batch_.query_start[s + 1] - t);
        for (std::int64_t h = 0; h < layout_.num_kv_heads(); ++h) units.push_back({s, t, n, h});
      }
    }
    return units;
  }

  std::int64_t state_floats() const { return State::Floats(most_queries_, dim_); }
  // Scratch of one thread: gathered queries, scores, staged keys and values.
  std::int64_t scratch_floats() const {
    return most_queries_ * (dim_ + kTileKeys) + 2 * dim_ * kTileKeys;
  }
  std::int64_t Segments(const Unit& unit) const { return LastPosition(unit) / kSegmentKeys + 1; }

  // Computes one segment of the unit into `memory`.
  void ComputeSegment(const Unit& unit, std::int64_t segment, float* scratch, float* memory) const {
    const std::int64_t queries = unit.num_tokens * group_;
    const State state(memory, queries);
    state.Clear(queries, dim_);
    for (std::int64_t i = 0; i < queries; ++i) {
      layout_.CopyQuery(unit.first_token + i / group_, HeadOf(unit, i), scratch + i * dim_);
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
      rows_.divide(state.acc + i * dim_, state.sum[i],
                   layout_.Result(unit.first_token + i / group_, HeadOf(unit, i)),
                   layout_.result_dim());
    }
  }

 private:
  std::int64_t HeadOf(const Unit& unit, std::int64_t query) const {
    return unit.kv_head * group_ + query % group_;
  }
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
    const std::int32_t* const blocks =
        batch_.block_tables + std::int64_t{batch_.seq_slot[unit.seq]} * batch_.max_blocks;
    layout_.PointAtKeys(blocks, unit.kv_head, tile_start, tile_keys,
                        tile.scores + most_queries_ * kTileKeys, &tile);
    rows_.attend(tile);
  }

  const RowKernels& rows_;
  const BatchView& batch_;
  const AttentionLayout& layout_;
  const float scale_;
  const std::int64_t dim_;
  const std::int64_t group_;  // query heads of a KV head
  const std::int64_t most_queries_;
};

}  // namespace

void RunAttention(const RowKernels& rows, ThreadPool& pool, const BatchView& batch,
                  const AttentionLayout& layout, float scale, std::vector<float>& memory) {
  if (batch.num_tokens == 0) return;
  const Attention attention(rows, batch, layout, scale);
  const std::vector<Unit> units = attention.Units();
  const auto num_units = static_cast<std::int64_t>(units.size());
  const std::int64_t state = attention.state_floats();
  const std::int64_t scratch = attention.scratch_floats();
  std::int64_t most_segments = 1;
  for (const Unit& unit : units) most_segments = std::max(most_segments, attention.Segments(unit));
  const bool spread = most_segments > 1 && num_units < 4 * pool.num_threads();

  const std::int64_t threads = pool.num_threads();
  const std::int64_t states = spread ? num_units * most_segments : 2 * threads;
  memory.resize(static_cast<std::size_t>(threads * scratch + states * state));
  float* const state_memory = memory.data() + threads * scratch;
  const auto unit_at = [&](std::int64_t i) -> const Unit& {
    return units[static_cast<std::size_t>(i)];
  };

  if (spread) {
    pool.For(num_units * most_segments, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Unit& unit = unit_at(i / most_segments);
        if (i % most_segments >= attention.Segments(unit)) continue;
        attention.ComputeSegment(unit, i % most_segments, memory.data() + thread * scratch,
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
  pool.For(num_units, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* const total = state_memory + 2 * thread * state;
    for (std::int64_t u = begin; u < end; ++u) {
      for (std::int64_t s = 0; s < attention.Segments(unit_at(u)); ++s) {
        attention.ComputeSegment(unit_at(u), s, memory.data() + thread * scratch,
                                 s == 0 ? total : total + state);
        if (s > 0) attention.Merge(unit_at(u), s, total, total + state);
      }
      attention.Finish(unit_at(u), total);
    }
  });
}

}  // namespace thinkwire::worker::kernels
