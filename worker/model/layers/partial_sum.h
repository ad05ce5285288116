#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/backend.h"
#include "worker/kernels/expert_router.h"
#include "worker/model/layers/scratch.h"

namespace thinkwire::worker::model {

// What a part adds up of a rank's SummedShapes: the first one's, plus the second's, as an
// all-reduce adds two ranks'. More than one on the CPU alone.
class PartialSum {
 public:
  // Of summands [T, width]. REQUIRES: num_summands >= 1; the scratch outlives this object.
  PartialSum(std::size_t num_summands, std::int64_t width, Scratch& scratch)
      : num_summands_(num_summands),
        summand_(num_summands == 1 ? nullptr : &scratch.Get("summand", width)) {}

  std::size_t num_summands() const { return num_summands_; }

  // partial = the sum, f32 [T, width] where there are several. compute(i, to) writes summand i.
  template <class Compute>
  void Write(const kernels::Tensor& partial, const Compute& compute) const {
    compute(std::size_t{0}, partial);
    for (std::size_t i = 1; i < num_summands_; ++i) {
      const kernels::Tensor summand = summand_->Rows(partial.dim(0));
      compute(i, summand);
      kernels::AddScaled(1.0F, summand.as<float>(), partial.as<float>(), partial.size());
    }
  }

 private:
  const std::size_t num_summands_;
  const Activation* summand_;  // null: there is but one
};

}  // namespace thinkwire::worker::model
