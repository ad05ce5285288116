#include "worker/kernels/cuda/device/tensor_map.h"

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::worker::kernels {
namespace {

// The driver's function, found at run time so that nothing links against the driver.
PFN_cuTensorMapEncodeTiled_v12000 Encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                              cudaEnableDefault, &result));
  Check(result == cudaDriverEntryPointSuccess, "the driver has cuTensorMapEncodeTiled");
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
}

CUtensorMapL2promotion PromotionOf(int lines) {
  return lines == 1 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B : CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
}

// sizes and box of `rank` dimensions, strides in bytes of all but the first.
CUtensorMap Encode(const void* data, const cuuint64_t* sizes, const cuuint64_t* strides,
                   const cuuint32_t* box, int rank, CUtensorMapSwizzle swizzle, int lines) {
  static const PFN_cuTensorMapEncodeTiled_v12000 encode = Encoder();
  const cuuint32_t steps[3] = {1, 1, 1};
  CUtensorMap map;
  const CUresult made =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(rank),
             const_cast<void*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             swizzle, PromotionOf(lines), CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  Check(made == CUDA_SUCCESS, "a matrix that the copy engine can read");
  return map;
}

CUtensorMap MakeMap(const void* data, std::int64_t rows, std::int64_t columns, int box_columns,
                    int box_rows, CUtensorMapSwizzle swizzle, int lines) {
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(columns) * 2};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(box_columns),
                             static_cast<cuuint32_t>(box_rows)};
  return Encode(data, sizes, strides, box, 2, swizzle, lines);
}

}  // namespace

CUtensorMap MakeBoxesMap(const void* data, std::int64_t rows, std::int64_t columns, int box_rows,
                         int boxes, int lines) {
  constexpr int kColumns = 64;
  const cuuint64_t sizes[3] = {kColumns, static_cast<cuuint64_t>(rows),
                               static_cast<cuuint64_t>(columns / kColumns)};
  const cuuint64_t strides[2] = {static_cast<cuuint64_t>(columns) * 2, kColumns * 2};
  const cuuint32_t box[3] = {kColumns, static_cast<cuuint32_t>(box_rows),
                             static_cast<cuuint32_t>(boxes)};
  return Encode(data, sizes, strides, box, 3, CU_TENSOR_MAP_SWIZZLE_128B, lines);
}

CUtensorMap MakeRowMap(const void* data, std::int64_t rows, std::int64_t columns, int box_columns,
                       int box_rows, int lines) {
  return MakeMap(data, rows, columns, box_columns, box_rows, CU_TENSOR_MAP_SWIZZLE_128B, lines);
}

CUtensorMap MakePlainRowMap(const void* data, std::int64_t rows, std::int64_t columns,
                            int box_columns, int box_rows) {
  return MakeMap(data, rows, columns, box_columns, box_rows, CU_TENSOR_MAP_SWIZZLE_NONE, 2);
}

}  // namespace thinkwire::worker::kernels
