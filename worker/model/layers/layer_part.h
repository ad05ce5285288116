#pragma once

#include <cstdint>

#include "worker/kernels/backend.h"
#include "worker/model/layers/load_weight.h"
#include "worker/model/layers/scratch.h"

namespace thinkwire::worker::model {

// What parts are built from and stand on.
struct PartPlace {
  const LoadPlace& load;
  const kernels::Tensor rope;  // as Backend::QkvRopeWriteKv wants it
  Scratch& scratch;
};

// One part of a layer, a rank's share of it: what is added to the residual stream is part(norm(x)),
// summed over the ranks. Attention of one kind or another, a feed-forward of one kind or another.
// Owns: its weights. Threads: the rank's.
class LayerPart {
 public:
  virtual ~LayerPart() = default;

  // partial = this rank's share of the part over x; ranks add up to the whole. x, partial act
  // [T, E]. `kv` is the layer's planes: attention writes the tokens of `batch` there and reads what
  // came before them.
  virtual void Run(const kernels::Tensor& x, const kernels::BatchView& batch,
                   const kernels::KvLayer& kv, const kernels::Tensor& partial) = 0;

  // Of its weights: what one decoded token at batch 1 reads, at most on this rank; and all.
  virtual std::int64_t bytes() const = 0;
  virtual std::int64_t total_bytes() const { return bytes(); }
};

}  // namespace thinkwire::worker::model
