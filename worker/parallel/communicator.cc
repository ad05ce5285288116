#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

void Communicator::AllReduceAddRmsNorm(kernels::Backend& backend,
                                       const kernels::ResidualNorm& norm) {
  AllReduce(norm.partial);
  backend.AddRmsNorm(norm);
}

}  // namespace thinkwire::worker::parallel
