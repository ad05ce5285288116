#pragma once

#include "worker/kernels/cuda/device/launch.cuh"

namespace thinkwire::worker::kernels {

// Products ask for their weights before the kernel before them has ended. So one stands between
// that ends only after an expansion. A template, so that each source may have it.
template <class Expansion>
__global__ void AwaitExpandedKernel() {
  WaitForPrevious();
}

}  // namespace thinkwire::worker::kernels
