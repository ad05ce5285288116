#include "worker/kernels/cuda/linear/unit_product.cuh"

// The products of one format, which compile beside those of the others.
namespace thinkwire::worker::kernels {

template void LaunchUnitProductOf<UnitFormat::kFp8>(const UnitProduct&, const LinearOutput&,
                                                    cudaStream_t);

}  // namespace thinkwire::worker::kernels
