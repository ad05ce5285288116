#pragma once

namespace thinkwire::worker::kernels {

// GPUs that this process may use; 0 where there is no driver.
int CountCudaDevices();

}  // namespace thinkwire::worker::kernels
