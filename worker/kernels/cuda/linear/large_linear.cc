#include "worker/kernels/cuda/linear/large_linear.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/end_process.h"

namespace thinkwire::worker::kernels {
namespace {

// What cuBLAS's guide advises for Hopper.
constexpr std::size_t kWorkspaceBytes = 32 << 20;
constexpr int kMostCandidates = 16;
constexpr int kTimedRuns = 3;

void CheckBlas(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]] {
    return;
  }
  EndProcess("cuBLASLt: %s: %s", call, cublasLtGetStatusString(status));
}

// A row-major matrix [rows, columns], which cuBLASLt calls column-major [columns, rows].
class MatrixLayout {
 public:
  MatrixLayout(cudaDataType_t type, std::int64_t rows, std::int64_t columns) {
    CheckBlas(cublasLtMatrixLayoutCreate(&layout_, type, static_cast<std::uint64_t>(columns),
                                         static_cast<std::uint64_t>(rows), columns),
              "cublasLtMatrixLayoutCreate");
  }
  ~MatrixLayout() { cublasLtMatrixLayoutDestroy(layout_); }
  MatrixLayout(const MatrixLayout&) = delete;
  MatrixLayout& operator=(const MatrixLayout&) = delete;
  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

bool SplitsK(const cublasLtMatmulAlgo_t& algorithm) {
  std::int32_t parts = 0;
  std::uint32_t reduction = 0;
  std::size_t written = 0;
  CheckBlas(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
                                                 &parts, sizeof(parts), &written),
            "CUBLASLT_ALGO_CONFIG_SPLITK_NUM");
  CheckBlas(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                                 &reduction, sizeof(reduction), &written),
            "CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME");
  return parts > 1 || reduction != CUBLASLT_REDUCTION_SCHEME_NONE;
}

// Numbers of tokens that an algorithm is chosen for: two a factor of two, from 96.
std::vector<std::int64_t> Buckets(std::int64_t above, std::int64_t up_to) {
  std::vector<std::int64_t> buckets;
  for (std::int64_t power = 64; power < 2 * up_to; power *= 2) {
    for (const std::int64_t bucket : {power * 3 / 2, power * 2}) {
      if (bucket > above && (buckets.empty() || buckets.back() < up_to)) buckets.push_back(bucket);
    }
  }
  return buckets;
}

}  // namespace

LargeLinear::LargeLinear() {
  CheckBlas(cublasLtCreate(&handle_), "cublasLtCreate");
  CheckBlas(cublasLtMatmulDescCreate(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
            "cublasLtMatmulDescCreate");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  CheckBlas(cublasLtMatmulDescSetAttribute(product_, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                           sizeof(transposed)),
            "CUBLASLT_MATMUL_DESC_TRANSA");
  CUDA_CHECK(cudaMalloc(&workspace_, kWorkspaceBytes));
}

LargeLinear::~LargeLinear() {
  cudaFree(workspace_);
  cublasLtMatmulDescDestroy(product_);
  cublasLtDestroy(handle_);
}

void LargeLinear::Run(const Product& product, cudaStream_t stream) {
  const std::int64_t tokens = product.tokens;
  const Shape shape = {product.rows, product.columns, product.f32_out};
  const Operands operands = {product.weights, product.x, product.out, stream};
  std::vector<Choice>& choices = choices_[shape];
  if (choices.empty() || choices.back().tokens < tokens) {
    Prepare(shape, operands, tokens, choices);
  }
  const auto choice = std::ranges::lower_bound(choices, tokens, std::less<>(),
                                               [](const Choice& c) { return c.tokens; });
  Check(Multiply(shape, operands, tokens, choice->algorithm),
        "an algorithm runs on fewer tokens than it was chosen for");
}

void LargeLinear::Prepare(const Shape& shape, const Operands& operands, std::int64_t tokens,
                          std::vector<Choice>& choices) {
  const std::int64_t above = choices.empty() ? 0 : choices.back().tokens;
  for (const std::int64_t bucket : Buckets(above, tokens)) {
    // The operands hold `tokens` tokens, maybe fewer than the bucket.
    const std::int64_t timed = std::min(bucket, tokens);
    float best = std::numeric_limits<float>::infinity();
    Choice choice = {bucket, {}};
    for (const cublasLtMatmulAlgo_t& candidate : Candidates(shape, timed)) {
      const float time = MilliSeconds(shape, operands, timed, candidate);
      if (time >= best) continue;
      best = time;
      choice.algorithm = candidate;
    }
    Check(best < std::numeric_limits<float>::infinity(),
          "cuBLASLt has an algorithm without split-K for every shape of whole 16-byte rows");
    choices.push_back(choice);
  }
}

std::vector<cublasLtMatmulAlgo_t> LargeLinear::Candidates(const Shape& shape,
                                                          std::int64_t tokens) const {
  const MatrixLayout weights(CUDA_R_16BF, shape.rows, shape.columns);
  const MatrixLayout x(CUDA_R_16BF, tokens, shape.columns);
  const MatrixLayout out(shape.f32_out ? CUDA_R_32F : CUDA_R_16BF, tokens, shape.rows);
  cublasLtMatmulPreference_t preference = nullptr;
  CheckBlas(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  const std::size_t workspace = kWorkspaceBytes;
  CheckBlas(
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                           &workspace, sizeof(workspace)),
      "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES");
  const std::uint32_t no_reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
  CheckBlas(
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                           &no_reduction, sizeof(no_reduction)),
      "CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK");
  cublasLtMatmulHeuristicResult_t results[kMostCandidates];
  int found = 0;
  CheckBlas(cublasLtMatmulAlgoGetHeuristic(handle_, product_, weights.get(), x.get(), out.get(),
                                           out.get(), preference, kMostCandidates, results, &found),
            "cublasLtMatmulAlgoGetHeuristic");
  cublasLtMatmulPreferenceDestroy(preference);
  std::vector<cublasLtMatmulAlgo_t> candidates;
  for (int i = 0; i < found; ++i) {
    if (!SplitsK(results[i].algo)) candidates.push_back(results[i].algo);
  }
  return candidates;
}

bool LargeLinear::Multiply(const Shape& shape, const Operands& operands, std::int64_t tokens,
                           const cublasLtMatmulAlgo_t& algorithm) {
  const MatrixLayout weights(CUDA_R_16BF, shape.rows, shape.columns);
  const MatrixLayout x(CUDA_R_16BF, tokens, shape.columns);
  const MatrixLayout out(shape.f32_out ? CUDA_R_32F : CUDA_R_16BF, tokens, shape.rows);
  const float one = 1.0F;
  const float zero = 0.0F;
  return cublasLtMatmul(handle_, product_, &one, operands.weights, weights.get(), operands.x,
                        x.get(), &zero, operands.out, out.get(), operands.out, out.get(),
                        &algorithm, workspace_, kWorkspaceBytes,
                        operands.stream) == CUBLAS_STATUS_SUCCESS;
}

float LargeLinear::MilliSeconds(const Shape& shape, const Operands& operands, std::int64_t tokens,
                                const cublasLtMatmulAlgo_t& algorithm) {
  constexpr float kRefused = std::numeric_limits<float>::infinity();
  if (!Multiply(shape, operands, tokens, algorithm)) return kRefused;
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  CUDA_CHECK(cudaEventCreate(&begin));
  CUDA_CHECK(cudaEventCreate(&end));
  CUDA_CHECK(cudaEventRecord(begin, operands.stream));
  for (int i = 0; i < kTimedRuns; ++i) Multiply(shape, operands, tokens, algorithm);
  CUDA_CHECK(cudaEventRecord(end, operands.stream));
  CUDA_CHECK(cudaEventSynchronize(end));
  float ms = 0;
  CUDA_CHECK(cudaEventElapsedTime(&ms, begin, end));
  CUDA_CHECK(cudaEventDestroy(begin));
  CUDA_CHECK(cudaEventDestroy(end));
  return ms;
}

}  // namespace thinkwire::worker::kernels
