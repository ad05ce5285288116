// What it costs large products that K is never split: the fastest of cuBLASLt's algorithms without
// split-K against the fastest of all, for the products of a qwen-7b layer and its head. Needs the
// toolkit alone:
//   g++ -std=c++20 -O2 -I CUDA/include -o split_k_cost tests/bench/split_k_cost.cc -L CUDA/lib64
//   -lcublasLt -lcudart
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

namespace {

constexpr std::size_t kWorkspaceBytes = 64 << 20;
constexpr int kCandidates = 64;
constexpr int kTimings = 5;
constexpr int kRunsATiming = 20;
constexpr std::int64_t kMostTokens = 4096;
constexpr std::int64_t kRotatedBytes = std::int64_t{256} << 20;  // more than the L2 cache

struct Product {
  const char* name;
  std::int64_t rows;
  std::int64_t columns;
};
constexpr Product kProducts[] = {{"QKV", 4608, 3584},
                                 {"output", 3584, 3584},
                                 {"gate and up", 37888, 3584},
                                 {"down", 3584, 18944}};

void Check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "split_k_cost: %s failed\n", what);
  std::exit(1);
}

void* Allocate(std::size_t bytes) {
  void* data = nullptr;
  Check(cudaMalloc(&data, bytes) == cudaSuccess, "cudaMalloc");
  Check(cudaMemset(data, 0, bytes) == cudaSuccess, "cudaMemset");
  return data;
}

cublasLtMatrixLayout_t Layout(std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  Check(cublasLtMatrixLayoutCreate(&layout, CUDA_R_16BF, static_cast<std::uint64_t>(columns),
                                   static_cast<std::uint64_t>(rows),
                                   columns) == CUBLAS_STATUS_SUCCESS,
        "cublasLtMatrixLayoutCreate");
  return layout;
}

int PartsOfK(const cublasLtMatmulAlgo_t& algorithm) {
  std::int32_t parts = 0;
  std::size_t written = 0;
  cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts,
                                       sizeof(parts), &written);
  return std::max(parts, 1);
}

struct Best {
  float microseconds = std::numeric_limits<float>::infinity();
  int parts = 0;
};

class Bench {
 public:
  Bench() {
    Check(cublasLtCreate(&handle_) == CUBLAS_STATUS_SUCCESS, "cublasLtCreate");
    cublasLtMatmulDescCreate(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    cublasLtMatmulDescSetAttribute(product_, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                   sizeof(transposed));
    workspace_ = Allocate(kWorkspaceBytes);
    cudaEventCreate(&begin_);
    cudaEventCreate(&end_);
  }

  void Run(const Product& product, std::int64_t tokens) {
    const std::int64_t weight_bytes = product.rows * product.columns * 2;
    const std::int64_t copies = kRotatedBytes / weight_bytes + 1;
    auto* const weights =
        static_cast<char*>(Allocate(static_cast<std::size_t>(copies * weight_bytes)));
    void* const x = Allocate(static_cast<std::size_t>(kMostTokens * product.columns * 2));
    void* const y = Allocate(static_cast<std::size_t>(kMostTokens * product.rows * 2));
    const auto w_layout = Layout(product.rows, product.columns);
    const auto x_layout = Layout(tokens, product.columns);
    const auto y_layout = Layout(tokens, product.rows);
    const auto multiply = [&](const cublasLtMatmulAlgo_t& algorithm, std::int64_t i) {
      const float one = 1;
      const float zero = 0;
      return cublasLtMatmul(handle_, product_, &one, weights + i % copies * weight_bytes, w_layout,
                            x, x_layout, &zero, y, y_layout, y, y_layout, &algorithm, workspace_,
                            kWorkspaceBytes, nullptr) == CUBLAS_STATUS_SUCCESS;
    };
    const auto median = [&](const cublasLtMatmulAlgo_t& algorithm) {
      std::vector<float> times;
      for (int t = 0; t < kTimings; ++t) {
        cudaEventRecord(begin_);
        for (int i = 0; i < kRunsATiming; ++i) {
          if (!multiply(algorithm, i)) return std::numeric_limits<float>::infinity();
        }
        cudaEventRecord(end_);
        Check(cudaEventSynchronize(end_) == cudaSuccess, "a product");
        float ms = 0;
        cudaEventElapsedTime(&ms, begin_, end_);
        times.push_back(ms * 1000 / kRunsATiming);
      }
      std::sort(times.begin(), times.end());
      return times[kTimings / 2];
    };
    Best whole;
    Best any;
    // All schemes of reduction allowed, then none: the first list may leave out what the second
    // has.
    for (const std::uint32_t mask : {0xFFU, 0U}) {
      for (const cublasLtMatmulAlgo_t& algorithm : Candidates(w_layout, x_layout, y_layout, mask)) {
        const float time = median(algorithm);
        const int parts = PartsOfK(algorithm);
        if (time < any.microseconds) any = {time, parts};
        if (parts == 1 && time < whole.microseconds) whole = {time, parts};
      }
    }
    std::printf("%-12s %5ld tokens: %8.1f us, of any %8.1f us (K in %2d parts): %+5.1f %%\n",
                product.name, static_cast<long>(tokens), whole.microseconds, any.microseconds,
                any.parts, 100 * (whole.microseconds / any.microseconds - 1));
    for (const auto layout : {w_layout, x_layout, y_layout}) cublasLtMatrixLayoutDestroy(layout);
    for (void* data : {static_cast<void*>(weights), x, y}) cudaFree(data);
  }

 private:
  std::vector<cublasLtMatmulAlgo_t> Candidates(cublasLtMatrixLayout_t w, cublasLtMatrixLayout_t x,
                                               cublasLtMatrixLayout_t y, std::uint32_t mask) {
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulPreferenceCreate(&preference);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &kWorkspaceBytes, sizeof(kWorkspaceBytes));
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                         &mask, sizeof(mask));
    cublasLtMatmulHeuristicResult_t results[kCandidates];
    int found = 0;
    cublasLtMatmulAlgoGetHeuristic(handle_, product_, w, x, y, y, preference, kCandidates, results,
                                   &found);
    cublasLtMatmulPreferenceDestroy(preference);
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < found; ++i) algorithms.push_back(results[i].algo);
    return algorithms;
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t product_ = nullptr;
  void* workspace_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

}  // namespace

int main() {
  Bench bench;
  for (const Product& product : kProducts) {
    for (const std::int64_t tokens : {16, 64, 128, 256, 512, 1024, 4096})
      bench.Run(product, tokens);
  }
}
