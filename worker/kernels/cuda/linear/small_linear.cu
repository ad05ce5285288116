#include <cuda_bf16.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <variant>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_map.h"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/small_linear.h"
#include "worker/kernels/cuda/linear/small_linear_kernel.cuh"
#include "worker/kernels/cuda/linear/small_linear_shape.cuh"
#include "worker/kernels/cuda/norm/norm_token.cuh"

// y = x W^T for up to 16 tokens: a stream over the weights, each read once. Names of numbers are
// those of SmallLinearShape; the kernel is in small_linear_kernel.cuh.
//
// Mapping. A block owns groups of row_warps * 16 rows of W, one after another. One warp asks the
// copy engine for stages of boxes * 64 columns of the group's rows and of all tokens, in a ring in
// shared memory (small_linear_ring.cuh); each of the first warps owns 16 rows and token_tiles * 8
// tokens and runs one chain of k16 steps an output, in ascending K, with weights as the A operand
// and tokens as B (small_linear_chain.cuh). A warp more looks up the tokens of a QKV product. All
// tokens ride along on one reading of the weights. K is never split, so that a token's bits depend
// neither on the other tokens nor on who computes it, and equal those of a matrix product without
// split-K (large_linear.h).
//
// Memory. 128-byte rows of a box lie swizzled (16-byte piece p of row r at p ^ (r & 7)), so that
// ldmatrix meets no bank twice. A stage's weights are one copy, and so are its tokens, box behind
// box without gaps: each copy costs the one thread that asks 0.1 us. A single token comes whole,
// beside the ring, where it fits. Weights are requested before the previous kernel has ended: they
// never change. A multiprocessor holds up to 200 KB of rings, of one block or of two, as the bytes
// that are on their way at any moment are what its bandwidth is made of; where rows are few, half
// of it is left to the next kernel's first stages. A single token's norm (norm_token.cuh) takes its
// place beside the ring, which has weights alone then.
//
// Roof: bytes of W at DRAM speed, or the chain: a dependent step is 25.1 cycles on an H200, a stage
// of 16 steps takes 460. K = 18,944 takes 17 us, less than its rows take to arrive, K = 8,960 of
// qwen-1.5b 8, where its rows take 6.
//
// Limits: K a multiple of 8 (rows of whole 16 bytes; columns up to the next 64 read as zero), x and
// W aligned to 16 bytes.
namespace thinkwire::worker::kernels {
namespace {

static_assert(ChoicesAreComplete(kSmallLinearTokens));

constexpr int kTokenFactBytes = sizeof(TokenPlace) + kHeadDim * sizeof(float);

// What the kernel knows of its tokens, in shared memory beside ring and row.
template <SmallLinearShape kShape, class Output>
constexpr int kFactBytes = Output::kPlaces ? kShape.tokens() * kTokenFactBytes : 0;

// A group's rows for gates and ups of one token on 132 multiprocessors, by who has the most: 144
// and 160 rows in qwen-1.5b, 288 and 288 in qwen-7b, 240 and 224 in llama-8b.
constexpr int GateUpRowsOf(std::int64_t rows) {
  return kChoices[ChooseShape(true, 1, rows, 132)].shape.rows();
}
static_assert(GateUpRowsOf(17920) == 48 && GateUpRowsOf(37888) == 48 && GateUpRowsOf(28672) == 32);

// Whether a stage's weights come in one copy, and its tokens in another.
bool InOneCopy(const SmallLinear& op) { return op.columns % kBoxColumns == 0; }

// How many lines the L2 cache asks for at a time (MakeRowMap). Two for products of 9 to 16 tokens
// with few weights: all of qwen-1.5b's, which lost 1.5 % at 16 tokens by one, where qwen-7b gained
// 1.9.
int LinesOf(const SmallLinear& op) {
  constexpr std::int64_t kFewWeights = 32 << 20;
  return op.tokens <= 8 || op.rows * op.columns >= kFewWeights ? 1 : 2;
}

// Bytes of a single token in whole stages.
template <SmallLinearShape kShape>
std::int64_t RowBytes(const SmallLinear& op) {
  return (op.columns + kShape.columns() - 1) / kShape.columns() * kShape.columns() * 2;
}

// What the kernel reads of the tokens. kBeside: HasRoomFor's.
template <SmallLinearShape kShape, int kBeside>
auto TokensOf(const SmallLinear& op) {
  if constexpr (kShape.norms) {
    const ResidualNorm& norm = *op.norm;
    return NormedInput{.partial = static_cast<const uint4*>(norm.partial.data),
                       .residual = static_cast<const uint4*>(norm.residual.data),
                       .sum = static_cast<uint4*>(norm.sum.data),
                       .weight = static_cast<const uint4*>(norm.weight.data),
                       .out = static_cast<uint4*>(norm.out.data),
                       .eps = norm.eps,
                       .pieces = static_cast<int>(op.columns / 8)};
  } else {
    TokenMap to{};
    to.tokens = op.tokens;
    to.copies = 1;
    if constexpr (kShape.single) {
      to.map = MakePlainRowMap(op.x, 1, op.columns, kShape.columns(), 1);
      to.row = kShape.HasRoomFor(RowBytes<kShape>(op), kBeside) ? op.x : nullptr;
      to.bytes = static_cast<int>(op.columns * 2);
      to.pitch = 1;
    } else if (InOneCopy(op)) {
      to.map = MakeBoxesMap(op.x, op.tokens, op.columns, op.tokens, kShape.boxes, LinesOf(op));
      to.pitch = op.tokens;
    } else {
      to.map = MakeRowMap(op.x, op.tokens, op.columns, kBoxColumns, op.tokens, LinesOf(op));
      to.copies = kShape.boxes;
      to.pitch = kShape.tokens();
    }
    return to;
  }
}

template <SmallLinearShape kShape, int kBeside>
std::size_t SharedBytes(const SmallLinear& op) {
  const std::int64_t row = RowBytes<kShape>(op);
  return static_cast<std::size_t>(kShape.ring_bytes() +
                                  (kShape.norms || kShape.HasRoomFor(row, kBeside) ? row : 0));
}

template <SmallLinearShape kShape>
CUtensorMap WeightMap(const SmallLinear& op) {
  return InOneCopy(op)
             ? MakeBoxesMap(op.weights, op.rows, op.columns, kShape.rows(), kShape.boxes,
                            LinesOf(op))
             : MakeRowMap(op.weights, op.rows, op.columns, kBoxColumns, kShape.rows(), LinesOf(op));
}

template <std::size_t kChoice, class Output>
void LaunchShaped(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  constexpr SmallLinearShape kShape = kChoices[kChoice].shape;
  constexpr int kBeside = kFactBytes<kShape, Output>;
  static_assert(kShape.limit_bytes(kBeside) + kBeside <= 226 * 1024,
                "what a QKV product knows of its tokens has room");
  const auto tokens = TokensOf<kShape, kBeside>(op);
  const auto kernel = &SmallLinearKernel<kChoice, std::remove_const_t<decltype(tokens)>, Output>;
  // Each device keeps its own, and each rank's thread has another: at every launch, for under 1 us.
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kShape.limit_bytes(kBeside)));
  const int groups = static_cast<int>((op.rows + kShape.rows() - 1) / kShape.rows());
  const SmallLinearInput input = {op.tokens, static_cast<int>(op.columns),
                                  InOneCopy(op) ? 1 : kShape.boxes, 0U};
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(std::min(groups, op.num_sms * kShape.blocks()))),
          .block = dim3(ThreadsOf<Output>(kShape)),
          .shared_bytes = SharedBytes<kShape, kBeside>(op)},
         stream, WeightMap<kShape>(op), tokens, input, output);
}

// Launches choice `chosen`, which is kAt or a later one and norms if kNorms.
template <bool kNorms, std::size_t kAt = 0, class Output>
void LaunchChosen(std::size_t chosen, const SmallLinear& op, const Output& output,
                  cudaStream_t stream) {
  if constexpr (kChoices[kAt].shape.norms == kNorms) {
    if (chosen == kAt) return LaunchShaped<FirstOfShape(kAt)>(op, output, stream);
  }
  if constexpr (kAt + 1 < std::size(kChoices)) {
    LaunchChosen<kNorms, kAt + 1>(chosen, op, output, stream);
  }
}

template <bool kNorms, class Output>
void LaunchBest(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  LaunchChosen<kNorms>(ChooseShape(kNorms, op.tokens, op.rows, op.num_sms), op, output, stream);
}

template <class Output>
void LaunchNormingFor(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  Check(CanNorm(*op.norm) && op.norm->out.data == op.x && op.norm->out.dim(0) == op.tokens &&
            op.norm->out.dim(1) == op.columns,
        "the norm's output is x");
  LaunchBest<true>(op, output, stream);
}

template <class Output>
void LaunchFor(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  Check(op.tokens >= 1 && op.tokens <= kSmallLinearTokens, "at most 16 tokens");
  Check(op.columns % 8 == 0, "rows of W are whole pieces of 16 bytes");
  LaunchBest<false>(op, output, stream);
}

StoreF32 StoreOf(const SmallLinear& op, const F32Output& output) {
  return {output.out.as<float>(), static_cast<int>(op.rows), op.tokens};
}
StoreBf16 StoreOf(const SmallLinear& op, const Bf16Output& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.rows), op.tokens};
}
StoreSwiGlu StoreOf(const SmallLinear& op, const SwiGluOutput& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.rows), op.tokens};
}
StoreQkv StoreOf(const SmallLinear& op, const QkvOutput& output) {
  return {
      MakeQkvTarget(op.rows, op.tokens, op.bias, output.rope, output.batch, output.kv, output.q),
      static_cast<int>(op.rows), op.tokens};
}

template <class Output>
void LaunchTo(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  const auto store = StoreOf(op, output);
  if constexpr (Output::kFollowsNorm) {
    if (op.norm != nullptr) return LaunchNormingFor(op, store, stream);
  }
  Check(op.norm == nullptr, "the output is one that follows a norm");
  LaunchFor(op, store, stream);
}

}  // namespace

bool CanNorm(const ResidualNorm& norm) {
  const auto is_input = [&](const Tensor& t) {
    return t.data == norm.residual.data || t.data == norm.partial.data;
  };
  return norm.out.dim(0) == 1 && norm.out.dim(1) % 8 == 0 && norm.out.dim(1) <= kNormTokenColumns &&
         !is_input(norm.out) && (norm.partial.data == nullptr || !is_input(norm.sum));
}

void LaunchSmallLinear(const SmallLinear& op, const LinearOutput& output, cudaStream_t stream) {
  std::visit([&](const auto& to) { LaunchTo(op, to, stream); }, output);
}

}  // namespace thinkwire::worker::kernels
