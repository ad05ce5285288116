#pragma once

namespace thinkwire::worker::kernels {

// GPUs that this process may use; 0 where there is no driver. The first call decides how kernels
// are loaded: of several `ranks`, here and elsewhere, all at the start; else each at its first use.
int CountCudaDevices(int ranks);

}  // namespace thinkwire::worker::kernels
