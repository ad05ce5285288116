#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/shared_load.cuh"
#include "worker/kernels/cuda/device/warpgroup.cuh"
#include "worker/kernels/cuda/linear/int4_product_shape.cuh"
#include "worker/kernels/cuda/linear/int4_ring.cuh"
#include "worker/kernels/cuda/linear/int4_values.cuh"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/small_linear_kernel.cuh"

// The kernel that int4_product.cu explains: two warps that fill a ring of stages, and warps that
// multiply what is in them. For code of sm_90a alone.
namespace thinkwire::worker::kernels {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Where a lane finds its words and its row's scale of a stage's first block.
struct Int4Place {
  std::uint32_t words;
  std::uint32_t scales;

  __device__ __forceinline__ Int4Place(std::uint32_t units, int lane)
      : words(units + 16 * lane), scales(units + kInt4ValueBytes + lane / 4 * 4) {}

  __device__ __forceinline__ void Advance(int bytes) {
    words += bytes;
    scales += bytes;
  }
};

// Weights of half a block's k16 steps, as the tensor core takes them from a lane's registers. Of
// one unit a step's rows g + 8 are what the registers happen to hold.
inline constexpr int kInt4HalfSteps = kInt4Columns / 32;
using Int4Half = std::uint32_t[kInt4HalfSteps][4];

// What a lane multiplies of a block: of each of the warp's units a word for two k16 steps, and the
// scale of row g.
template <int kUnits>
struct Int4Words {
  using Place = Int4Place;
  uint4 words[kUnits];
  Int4Scale scales[kUnits];

  // Of the block `offset` bytes behind the stage's first.
  __device__ __forceinline__ void Load(const Int4Place& place, int offset) {
    std::uint32_t scale[kUnits];
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      scale[u] = LoadShared4(place.scales + offset + u * kInt4UnitBytes);
      words[u] = LoadShared16(place.words + offset + u * kInt4UnitBytes);
    }
#pragma unroll
    for (int u = 0; u < kUnits; ++u) scales[u] = Int4Scale(scale[u]);
  }

  __device__ __forceinline__ void Make(int half, Int4Half& weights) const {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      const uint4& four = words[u];
      const std::uint32_t two[2] = {half == 0 ? four.x : four.z, half == 0 ? four.y : four.w};
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        Int4Step(two[j], scales[u], weights[2 * j][u], weights[2 * j][u + 2]);
        Int4Step(RotateRight8(two[j]), scales[u], weights[2 * j + 1][u], weights[2 * j + 1][u + 2]);
      }
    }
  }
};

// Keeps the compiler from using the registers otherwise until here.
__device__ __forceinline__ void PinWeights(Int4Half& weights) {
#pragma unroll
  for (int i = 0; i < kInt4HalfSteps; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) asm volatile("" : "+r"(weights[i][j])::"memory");
  }
}

// The tokens' boxes of a stage as the tensor core's descriptors.
struct Int4Boxes {
  std::uint64_t first;

  __device__ __forceinline__ explicit Int4Boxes(std::uint32_t stage)
      : first(SwizzledMatrix(stage)) {}
  // 16 columns at `step` of the box `offset` bytes behind the first.
  __device__ __forceinline__ std::uint64_t At(int offset, int step) const {
    return first + offset / 16 + 2 * step;
  }
};

// Asks for half a block's steps over the 64 columns of the box at `offset`.
template <auto kShape>
__device__ __forceinline__ void AddHalf(const Int4Boxes& boxes, int offset, const Int4Half& weights,
                                        float (&sums)[kShape.tokens() / 2]) {
  BeginSteps();
#pragma unroll
  for (int j = 0; j < kInt4HalfSteps; ++j) {
    WarpgroupMmaRows<kShape.tokens()>(sums, weights[j], boxes.At(offset, j));
  }
  CommitSteps();
}

// The sums of a tile's rows to the output, of which the warp's first is `row`. Where a warp has one
// unit, lanes of rows i and i + 8 meet in the lower one.
template <auto kShape, class Output>
__device__ __forceinline__ void StoreInt4Rows(int row, int lane,
                                              const float (&sums)[kShape.tokens() / 2],
                                              const Output& output, const TokenPlace* places) {
#pragma unroll
  for (int n = 0; n < kShape.token_tiles; ++n) {
    float d[4] = {sums[4 * n], sums[4 * n + 1], sums[4 * n + 2], sums[4 * n + 3]};
    if constexpr (kShape.units() == 1) {
      d[2] = __shfl_xor_sync(0xFFFFFFFFU, d[0], 16);
      d[3] = __shfl_xor_sync(0xFFFFFFFFU, d[1], 16);
      if (lane >= 16) continue;
    }
    output(row + lane / 4, 8 * n + lane % 4 * 2, d, places);
  }
}

// A warp's way through a tile. While the tensor core has half a block, the warp makes the next
// half. Words: as Int4Words.
template <auto kShape, class Words>
struct Int4Walk {
  const Int4Ring<kShape>& ring;
  std::uint32_t units;  // where a stage has the warp's
  int lane;
  Int4Half weights[2];
  Words words;
  float sums[kShape.tokens() / 2];

  // The whole tile, from `at`, which is moved past it.
  __device__ __forceinline__ void Run(RingPlace& at) {
    Begin(at);
    std::uint32_t read = 0;  // the barrier of a stage that the steps before the last commit read
    for (int chunk = 0; chunk < ring.chunks; ++chunk) {
      RingPlace after = at;
      ring.Advance(after);
      const bool is_last = chunk + 1 == ring.chunks;
      if (ring.Blocks(at) == kShape.blocks) {
        Stage(at, after, is_last, read);
      } else {
        ShortStage(at, after, is_last, read);
      }
      read = ring.Empty(at);
      at = after;
    }
    AwaitSteps<0>();
    PinWeights(weights[0]);
    PinWeights(weights[1]);
    PinSums(sums);
    Release(read);
  }

 private:
  using Place = typename Words::Place;

  // The stage whose barrier `empty` is has been read by all the warp's lanes.
  __device__ __forceinline__ void Release(std::uint32_t empty) const {
    __syncwarp();
    if (lane == 0) Arrive(empty);
  }

  __device__ __forceinline__ void Begin(const RingPlace& at) {
    // Of one unit half of the registers are never written again: with what only the launch knows,
    // or the compiler would set them before each step.
#pragma unroll
    for (int i = 0; i < 8 * kInt4HalfSteps; ++i) {
      weights[i / 4 % 2][i / 8][i % 4] = kShape.units() == 2 ? 0U : LoadShared4(ring.full);
    }
    WaitBarrier(ring.Full(at), at.round & 1);
    words.Load(Place(ring.Stage(at) + units, lane), 0);
    words.Make(0, weights[0]);
#pragma unroll
    for (float& sum : sums) sum = 0.0F;
    PinSums(sums);
  }

  // A block whose first box is at `offset`. load() brings the next one's words.
  template <class Load>
  __device__ __forceinline__ void Block(const Int4Boxes& boxes, int offset, std::uint32_t read,
                                        const Load& load) {
    AddHalf<kShape>(boxes, offset, weights[0], sums);
    AwaitSteps<1>();
    PinWeights(weights[1]);
    if (read != 0) Release(read);
    words.Make(1, weights[1]);
    load();
    AddHalf<kShape>(boxes, offset + kShape.box_bytes(), weights[1], sums);
    AwaitSteps<1>();
    PinWeights(weights[0]);
    words.Make(0, weights[0]);
  }

  // After the tile's last stage loads what is not used.
  __device__ __forceinline__ void LoadFirst(const RingPlace& at, bool is_last) {
    if (!is_last) WaitBarrier(ring.Full(at), at.round & 1);
    words.Load(Place(ring.Stage(at) + units, lane), 0);
  }

  __device__ __forceinline__ void Stage(const RingPlace& at, const RingPlace& after, bool is_last,
                                        std::uint32_t read) {
    const Int4Boxes boxes(ring.Stage(at));
    const Place place(ring.Stage(at) + units, lane);
#pragma unroll kShape.unrolled()
    for (int b = 0; b < kShape.blocks; ++b) {
      Block(boxes, 2 * b * kShape.box_bytes(), b == 0 ? read : 0, [&] {
        if (b + 1 == kShape.blocks) return LoadFirst(after, is_last);
        words.Load(place, (b + 1) * kShape.block_bytes());
      });
    }
  }

  // Of fewer blocks than the others.
  __device__ __forceinline__ void ShortStage(const RingPlace& at, const RingPlace& after,
                                             bool is_last, std::uint32_t read) {
    const int blocks = Kept(ring.Blocks(at));
    Int4Boxes boxes(ring.Stage(at));
    Place place(ring.Stage(at) + units, lane);
#pragma unroll 1
    for (int b = 0; b < blocks; ++b) {
      Block(boxes, 0, read, [&] {
        if (b + 1 == blocks) return LoadFirst(after, is_last);
        words.Load(place, kShape.block_bytes());
      });
      read = 0;
      boxes.first += 2 * kShape.box_bytes() / 16;
      place.Advance(kShape.block_bytes());
    }
  }
};

// Moves `at` past a group without reading it.
template <auto kShape>
__device__ __forceinline__ void SkipGroup(const Int4Ring<kShape>& ring, RingPlace& at, int lane) {
  for (int chunk = 0; chunk < ring.chunks; ++chunk, ring.Advance(at)) {
    WaitBarrier(ring.Full(at), at.round & 1);
    if (lane == 0) Arrive(ring.Empty(at));
  }
}

// A warp that multiplies: its rows of one tile of each of the block's groups.
template <auto kShape, class Words, class Output>
__device__ __forceinline__ void MultiplyTiles(const Int4Ring<kShape>& ring, int warp, int lane,
                                              const Output& output, const TokenPlace* places) {
  const int number = warp / kInt4TileWarps;
  const int part = warp % kInt4TileWarps;
  const std::uint32_t units = kShape.token_bytes() + number * kShape.tile_bytes() +
                              part * kShape.units() * kShape.unit_bytes();
  Int4Walk<kShape, Words> walk = {.ring = ring, .units = units, .lane = lane};
  for (RingPlace at; ring.Has(at);) {
    const int tile = ring.FirstTile(at.group) + number;
    if (tile >= ring.FirstTile(at.group + 1)) {
      SkipGroup(ring, at, lane);
      continue;
    }
    walk.Run(at);
    const int row = ring.input.first_row + tile * Int4TileRows(kShape.tiling) +
                    Int4UnitRow(part * kShape.units(), 0, kShape.tiling);
    StoreInt4Rows<kShape>(row, lane, walk.sums, output, places);
  }
}

// What a block of such a kernel does.
template <auto kShape, class Words, class Output>
__device__ __forceinline__ void RunProduct(const CUtensorMap& tokens, const Int4ProductInput& input,
                                           const Output& output) {
  extern __shared__ unsigned char shared[];
  __shared__ std::uint64_t full_barriers[kShape.stages];
  __shared__ std::uint64_t empty_barriers[kShape.stages];
  __shared__ TokenPlace places[Output::kPlaces ? kShape.tokens() : 1];
  const std::uint32_t full = Kept(SharedAddress(full_barriers));
  const std::uint32_t empty = Kept(SharedAddress(empty_barriers));
  if (threadIdx.x == 0) InitInt4Barriers<kShape>(full, empty);
  __syncthreads();
  AllowNext();

  const Int4Ring<kShape> ring = {
      .input = input,
      .stages = (SharedAddress(shared) + kBoxAlignment - 1) & ~(kBoxAlignment - 1U),
      .full = full,
      .empty = empty,
      .chunks = (input.blocks + kShape.blocks - 1) / kShape.blocks};
  // From lane 0, so that the compiler knows it to be the same in all lanes.
  const int warp = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (warp == kShape.warps()) return FillWithWeights(ring, lane == 0);
  if (warp == kShape.warps() + 1) return FillWithTokens(ring, tokens, lane == 0);
  WaitForPrevious();
  if constexpr (Output::kPlaces) {
    for (int t = static_cast<int>(threadIdx.x); t < input.tokens; t += 32 * kShape.warps()) {
      places[t] = PlaceOf(output.target, t);
    }
    asm volatile("bar.sync 1, %0;" ::"n"(32 * kShape.warps()) : "memory");
  }
  MultiplyTiles<kShape, Words>(ring, warp, lane, output, places);
}

#endif

// In the shape of choice kChoice: nvcc cannot name a kernel whose template argument is a struct.
template <std::size_t kChoice, class Output>
__global__ __launch_bounds__(
    kInt4Choices[kChoice].shape.threads(),
    kInt4Choices[kChoice]
        .shape.residents()) void Int4ProductKernel(const __grid_constant__ CUtensorMap tokens,
                                                   const __grid_constant__ Int4ProductInput input,
                                                   const __grid_constant__ Output output) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr Int4Shape kShape = kInt4Choices[kChoice].shape;
  RunProduct<kShape, Int4Words<kShape.units()>>(tokens, input, output);
#else
  __trap();
#endif
}

}  // namespace thinkwire::worker::kernels
