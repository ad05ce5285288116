#pragma once

#include <cstdint>
#include <vector>

#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/thread_pool.h"
#include "worker/kernels/kv.h"

// Causal attention over paged keys and values, whatever their layout. One query's result: tiles of
// 64 keys at absolute positions enter an online softmax in ascending order (attention_kernel.h)
// within a segment of 512 positions; segments are merged in ascending order; acc / sum. Nothing
// else fixes the bits: not the block size, nor the queries that are computed together, nor who
// computes a segment.
//
// A unit of work is some consecutive tokens of a sequence for one KV head: their queries read each
// tile once. If the units are too few for the threads, as in decode, their segments are spread too.
namespace thinkwire::worker::kernels {

// Where queries, keys and values lie, and where results go. Of a head's queries h / (num_heads /
// num_kv_heads) is its KV head. Threads: any.
class AttentionLayout {
 public:
  virtual ~AttentionLayout() = default;

  virtual std::int64_t num_heads() const = 0;     // H
  virtual std::int64_t num_kv_heads() const = 0;  // K, divides H
  virtual std::int64_t dim() const = 0;           // D, of keys, and of values as they are read
  virtual std::int64_t result_dim() const = 0;    // the first so many of a result's D are wanted

  // Writes the query, f32 [D].
  virtual void CopyQuery(std::int64_t token, std::int64_t head, float* to) const = 0;
  // Where the query's result goes, f32 [result_dim].
  virtual float* Result(std::int64_t token, std::int64_t head) const = 0;

  // Sets the tile's keys, key_stride and values for positions [first, first + count) of the
  // sequence whose blocks are `blocks`. `staged` [2, D, 64] is the tile's to fill.
  virtual void PointAtKeys(const std::int32_t* blocks, std::int64_t kv_head, std::int64_t first,
                           std::int64_t count, float* staged, AttentionTile* tile) const = 0;
};

// Computes the batch's tokens. `memory` is scratch, and grows as it must.
void RunAttention(const RowKernels& rows, ThreadPool& pool, const BatchView& batch,
                  const AttentionLayout& layout, float scale, std::vector<float>& memory);

}  // namespace thinkwire::worker::kernels
