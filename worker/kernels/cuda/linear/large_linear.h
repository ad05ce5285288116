#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

namespace thinkwire::worker::kernels {

// y = x W^T in bf16 for many tokens, by cuBLASLt restricted to algorithms that do not split K: each
// adds an output up as one chain of k16 steps in ascending K, so that all of them, and the kernels
// of small_linear.h and tile_linear.h, give the same bits (the backend checks that at start-up).
//
// Which of them is fastest depends on the number of tokens; each shape's are timed once, the first
// time that so many tokens come, for all smaller numbers too.
// Owns: the handle and its workspace. Threads: the stream's.
class LargeLinear {
 public:
  // Of the calling thread's GPU.
  LargeLinear();
  ~LargeLinear();
  LargeLinear(const LargeLinear&) = delete;
  LargeLinear& operator=(const LargeLinear&) = delete;

  // Device pointers, aligned to 16 bytes.
  struct Product {
    const void* weights;  // bf16 [rows, columns]
    std::int64_t rows;
    std::int64_t columns;
    const void* x;  // bf16 [tokens, columns]
    std::int64_t tokens;
    bool f32_out;  // else bf16
    void* out;     // [tokens, rows]
  };

  // The first with so many tokens times algorithms, and so must not be recorded.
  // REQUIRES: the same stream each time.
  void Run(const Product& product, cudaStream_t stream);

 private:
  struct Shape {
    std::int64_t rows;
    std::int64_t columns;
    bool f32_out;
    auto operator<=>(const Shape&) const = default;
  };
  // Algorithms for up to `tokens` tokens, ascending.
  struct Choice {
    std::int64_t tokens;
    cublasLtMatmulAlgo_t algorithm;
  };
  struct Operands {
    const void* weights;
    const void* x;
    void* out;
    cudaStream_t stream;
  };

  // Adds the choices for up to `tokens` tokens.
  void Prepare(const Shape& shape, const Operands& operands, std::int64_t tokens,
               std::vector<Choice>& choices);
  std::vector<cublasLtMatmulAlgo_t> Candidates(const Shape& shape, std::int64_t tokens) const;
  // False if cuBLASLt refuses the algorithm for this shape.
  bool Multiply(const Shape& shape, const Operands& operands, std::int64_t tokens,
                const cublasLtMatmulAlgo_t& algorithm);
  float MilliSeconds(const Shape& shape, const Operands& operands, std::int64_t tokens,
                     const cublasLtMatmulAlgo_t& algorithm);

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t product_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Shape, std::vector<Choice>> choices_;
};

}  // namespace thinkwire::worker::kernels
