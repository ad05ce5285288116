#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

void Communicator::AllReduceAddRmsNorm(kernels::Backend& backend, const kernels::Tensor& partial,
                                       const kernels::Tensor& residual,
                                       const kernels::Tensor& weight, float eps,
                                       const kernels::Tensor& out) {
  AllReduce(partial);
  backend.AddRmsNorm(partial, residual, weight, eps, out);
}

}  // namespace thinkwire::worker::parallel
