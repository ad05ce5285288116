#pragma once

// Marks a function that CUDA code calls too. Such functions use constexpr functions of the standard
// library, so CUDA sources that call them are compiled with --expt-relaxed-constexpr.
#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__
#else
#define HOST_DEVICE
#endif
