#pragma once

#include <cstdint>
#include <string>

#include "worker/kernels/weights.h"

// The inner loops of the CPU backend, once for each instruction set. All sets give the same bits:
// they are instances of one template over sixteen f32 lanes (row_kernels_impl.h).
namespace thinkwire::worker::kernels {

enum class Isa : std::uint8_t { kPortable, kAvx2, kAvx512, kAvx512Bf16 };
inline constexpr Isa kAllIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16};

bool IsSupported(Isa isa);  // by this machine
Isa BestIsa();              // the widest that is supported

inline constexpr int kPanelRows = 8;    // outputs that a panel of weights holds
inline constexpr int kPanelDepth = 32;  // inputs that are packed together
inline constexpr int kTileKeys = 64;    // keys of one online-softmax step
inline constexpr int kKeyGroup = 16;    // keys that are scored together

// One key tile for the queries of one KV head.
struct AttentionTile {
  const float* q = nullptr;  // [num_queries, head_dim], q_stride apart
  std::int64_t q_stride = 0;
  int num_queries = 0;
  int head_dim = 0;
  float scale = 0;
  const int* num_keys = nullptr;  // [num_queries] keys of the tile that the query sees, 0..64
  const float* keys[kTileKeys / kKeyGroup] = {};  // [head_dim, 16 keys], rows key_stride apart
  std::int64_t key_stride = 0;
  const float* values[kTileKeys] = {};  // [head_dim] of each key
  // Running softmax of each query: greatest score, sum of weights, weighted values.
  float* max = nullptr;     // [num_queries]
  float* sum = nullptr;     // [num_queries]
  float* acc = nullptr;     // [num_queries, head_dim]
  float* scores = nullptr;  // scratch [num_queries, kTileKeys]
};

// Of x, in a product with a packed panel that is not unpacked first.
inline constexpr int kMostPackedTokens = 4;

struct RowKernels {
  const char* name;

  // out[t, r] = dot(x[t], row r of the panel) for t < tokens, r < 8. x rows are x_stride apart and
  // hold depth_blocks * 32 floats.
  void (*linear_panel)(const float* x, std::int64_t x_stride, int tokens,
                       const std::uint16_t* panel, std::int64_t depth_blocks, float* out);

  // Writes a packed panel (packed_layout.h) as one of bf16.
  void (*unpack_panel)(Encoding encoding, const std::uint8_t* panel, std::int64_t depth_blocks,
                       std::uint16_t* out);

  // As linear_panel over the panel unpacked. REQUIRES: IsReadInPlace(encoding), tokens <=
  // kMostPackedTokens.
  void (*packed_panel)(Encoding encoding, const std::uint8_t* panel, const float* x,
                       std::int64_t x_stride, int tokens, std::int64_t depth_blocks, float* out);

  float (*sum_squares)(const float* x, std::int64_t n);
  // out = x * scale * weight.
  void (*scale)(const float* x, float scale, const std::uint16_t* weight, float* out,
                std::int64_t n);
  void (*add)(const float* x, float* sum, std::int64_t n);  // sum += x
  void (*widen)(const std::uint16_t* x, float* out, std::int64_t n);
  // Numbers of e4m3 as f32, `rows` of sixteen: x rows are x_stride apart, out's follow each other.
  void (*widen_e4m3)(const std::uint8_t* x, std::int64_t x_stride, std::int64_t rows, float* out);
  void (*swiglu)(const float* gate, const float* up, float* out, std::int64_t n);
  // Half rotation of x [2 * half] into out, which may be x.
  void (*rotate)(const float* x, const float* cosines, const float* sines, float* out, int half);
  void (*exp_minus)(const float* x, float minus, float* out, std::int64_t n);  // exp(x - minus)
  void (*divide)(const float* x, float by, float* out, std::int64_t n);

  void (*attend)(const AttentionTile& tile);
  // Adds a later segment's state to an earlier one's.
  void (*merge)(float* max, float* sum, float* acc, float later_max, float later_sum,
                const float* later_acc, int head_dim);
};

// REQUIRES: IsSupported(isa).
const RowKernels& RowKernelsFor(Isa isa);

const RowKernels& PortableRowKernels();
const RowKernels& Avx2RowKernels();
const RowKernels& Avx512RowKernels();
const RowKernels& Avx512Bf16RowKernels();

}  // namespace thinkwire::worker::kernels
