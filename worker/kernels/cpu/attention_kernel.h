#pragma once

#include <cstdint>
#include <limits>

#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/row_kernels_impl.h"

// One step of online softmax: a tile of at most 64 keys for some queries that share a KV head.
//   score_j = scale * sum over d ascending of q_d * k_jd      (one chain of fused multiply-adds)
//   m' = max(m, scores);  c = exp(m - m');  p_j = exp(score_j - m')
//   sum = sum * c + tree sum of ((p0 + p1) + (p2 + p3)), p0..p3 the four groups of sixteen keys
//   acc_d = acc_d * c, then + p_j * v_jd for j ascending      (one chain of fused multiply-adds)
// Keys that a query does not see enter as weight 0 in the tree and not at all in acc, so stale
// memory never reaches a result.
namespace thinkwire::worker::kernels {

template <class L, int kQueries, int kGroups>
void ScoreKeys(const AttentionTile& tile, int first_query, int first_group) {
  L acc[kQueries][kGroups];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) acc[q][g] = L::Set(0.0F);
  }
  const float* query = tile.q + first_query * tile.q_stride;
  for (int d = 0; d < tile.head_dim; ++d) {
    L key[kGroups];
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) {
      key[g] = L::Load(tile.keys[first_group + g] + d * tile.key_stride);
    }
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
      const L x = L::Set(query[q * tile.q_stride + d]);
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) acc[q][g] = L::Fma(x, key[g], acc[q][g]);
    }
  }
  const L scale = L::Set(tile.scale);
  for (int q = 0; q < kQueries; ++q) {
    float* scores = tile.scores + (first_query + q) * kTileKeys + first_group * kKeyGroup;
    for (int g = 0; g < kGroups; ++g) L::Mul(acc[q][g], scale).Store(scores + g * kKeyGroup);
  }
}

// Turns one query's scores into weights and updates its max and sum. Returns c.
template <class L>
float Weigh(const AttentionTile& tile, int q) {
  float* scores = tile.scores + q * kTileKeys;
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  for (int j = tile.num_keys[q]; j < kTileKeys; ++j) scores[j] = kNone;
  L s[4];
  for (int g = 0; g < 4; ++g) s[g] = L::Load(scores + g * kKeyGroup);
  float lanes[kKeyGroup];
  L::Max(L::Max(s[0], s[1]), L::Max(s[2], s[3])).Store(lanes);
  float max = tile.max[q];
  for (float lane : lanes) max = lane > max ? lane : max;
  const L m = L::Set(max);
  for (int g = 0; g < 4; ++g) {
    s[g] = Exp(L::Sub(s[g], m));
    s[g].Store(scores + g * kKeyGroup);
  }
  const float c = ExpOf<L>(tile.max[q] - max);
  const float sum = Sum(L::Add(L::Add(s[0], s[1]), L::Add(s[2], s[3])));
  tile.max[q] = max;
  tile.sum[q] = __builtin_fmaf(tile.sum[q], c, sum);
  return c;
}

// acc = acc * c + weights * values over the query's keys, for lanes [d, d + 16 * kChunks) of the
// head.
template <class L, int kChunks>
void AddValues(const AttentionTile& tile, int q, int d, int keys, float c) {
  float* out = tile.acc + static_cast<std::int64_t>(q) * tile.head_dim + d;
  const float* weights = tile.scores + q * kTileKeys;
  const L factor = L::Set(c);
  L acc[kChunks];
#pragma GCC unroll 8
  for (int i = 0; i < kChunks; ++i) acc[i] = L::Mul(L::Load(out + i * 16), factor);
  for (int j = 0; j < keys; ++j) {
    const L p = L::Set(weights[j]);
    const float* value = tile.values[j] + d;
#pragma GCC unroll 8
    for (int i = 0; i < kChunks; ++i) acc[i] = L::Fma(p, L::Load(value + i * 16), acc[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kChunks; ++i) acc[i].Store(out + i * 16);
}

template <class L>
void AddValuesTail(const AttentionTile& tile, int q, int d, int keys, float c) {
  const int lanes = tile.head_dim - d;
  float* out = tile.acc + static_cast<std::int64_t>(q) * tile.head_dim + d;
  L acc = L::Mul(L::LoadFirst(out, lanes), L::Set(c));
  for (int j = 0; j < keys; ++j) {
    acc = L::Fma(L::Set(tile.scores[q * kTileKeys + j]), L::LoadFirst(tile.values[j] + d, lanes),
                 acc);
  }
  acc.StoreFirst(out, lanes);
}

template <class L>
void Attend(const AttentionTile& tile) {
  int most_keys = 0;
  for (int q = 0; q < tile.num_queries; ++q) {
    most_keys = tile.num_keys[q] > most_keys ? tile.num_keys[q] : most_keys;
  }
  constexpr int kQ = L::kAttentionQueries;
  constexpr int kG = L::kAttentionKeyGroups;
  const int groups = (most_keys + kKeyGroup - 1) / kKeyGroup;
  int g = 0;
  for (; g + kG <= groups; g += kG) {
    int q = 0;
    for (; q + kQ <= tile.num_queries; q += kQ) ScoreKeys<L, kQ, kG>(tile, q, g);
    for (; q < tile.num_queries; ++q) ScoreKeys<L, 1, kG>(tile, q, g);
  }
  for (; g < groups; ++g) {
    int q = 0;
    for (; q + kQ <= tile.num_queries; q += kQ) ScoreKeys<L, kQ, 1>(tile, q, g);
    for (; q < tile.num_queries; ++q) ScoreKeys<L, 1, 1>(tile, q, g);
  }
  for (int q = 0; q < tile.num_queries; ++q) {
    const int keys = tile.num_keys[q];
    if (keys == 0) continue;
    const float c = Weigh<L>(tile, q);
    int d = 0;
    for (; d + 128 <= tile.head_dim; d += 128) AddValues<L, 8>(tile, q, d, keys, c);
    for (; d + 64 <= tile.head_dim; d += 64) AddValues<L, 4>(tile, q, d, keys, c);
    for (; d + 16 <= tile.head_dim; d += 16) AddValues<L, 1>(tile, q, d, keys, c);
    if (d < tile.head_dim) AddValuesTail<L>(tile, q, d, keys, c);
  }
}

// m' = max(m, later m); sum, acc = earlier * exp(m - m') + later * exp(later m - m').
template <class L>
void MergeSegments(float* max, float* sum, float* acc, float later_max, float later_sum,
                   const float* later_acc, int head_dim) {
  const float m = later_max > *max ? later_max : *max;
  const float a = ExpOf<L>(*max - m);
  const float b = ExpOf<L>(later_max - m);
  *max = m;
  *sum = __builtin_fmaf(*sum, a, later_sum * b);
  const L factor_a = L::Set(a);
  const L factor_b = L::Set(b);
  ForLanes(head_dim, [&](std::int64_t i, int lanes) {
    const L later = L::Mul(LoadUpTo<L>(later_acc + i, lanes), factor_b);
    StoreUpTo(L::Fma(LoadUpTo<L>(acc + i, lanes), factor_a, later), acc + i, lanes);
  });
}

}  // namespace thinkwire::worker::kernels
