#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "worker/kernels/add_pairwise.h"
#include "worker/kernels/backend.h"
#include "worker/kernels/expert_router.h"
#include "worker/model/layers/scratch.h"

namespace thinkwire::worker::model {

// What a part adds up of a rank's SummedShapes, in the order in which an all-reduce of the CPU adds
// up as many ranks' (kernels::AddPairwise). More than one on the CPU alone.
class PartialSum {
 public:
  // Of summands [T, width]. REQUIRES: num_summands >= 1; the scratch outlives this object.
  PartialSum(std::size_t num_summands, std::int64_t width, Scratch& scratch)
      : num_summands_(num_summands) {
    for (std::size_t i = 1; i < kernels::SumsOfPairs(num_summands); ++i) {
      sums_.push_back(&scratch.Get("sum_" + std::to_string(i), width));
    }
  }

  std::size_t num_summands() const { return num_summands_; }

  // partial = the sum, f32 [T, width] where there are several. compute(i, to) writes summand i.
  template <class Compute>
  void Write(const kernels::Tensor& partial, const Compute& compute) const {
    const auto sum = [&](std::size_t at) {
      return at == 0 ? partial : sums_[at - 1]->Rows(partial.dim(0));
    };
    kernels::AddPairwise(
        num_summands_, [&](std::size_t i, std::size_t at) { compute(i, sum(at)); },
        [&](std::size_t to, std::size_t from) {
          kernels::AddScaled(1.0F, sum(from).template as<float>(), sum(to).template as<float>(),
                             partial.size());
        });
  }

 private:
  const std::size_t num_summands_;
  std::vector<const Activation*> sums_;  // those after the first, which is the caller's
};

}  // namespace thinkwire::worker::model
