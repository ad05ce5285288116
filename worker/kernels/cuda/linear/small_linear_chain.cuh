#pragma once

#include <cstdint>

#include "worker/kernels/cuda/device/barrier.cuh"
#include "worker/kernels/cuda/device/shared_load.cuh"
#include "worker/kernels/cuda/device/tensor_core.cuh"
#include "worker/kernels/cuda/linear/small_linear_ring.cuh"
#include "worker/kernels/cuda/linear/small_linear_shape.cuh"

// A warp of small_linear_kernel.cuh that multiplies: what it reads of the ring, and its chain of
// tensor-core steps.
namespace thinkwire::worker::kernels {

#if __CUDA_ARCH__ >= 900

// Where a stage's rows of W are, and its tokens: boxes of swizzled rows, a single token's columns
// in their order, or those as NormToken wrote them.
struct StagePlace {
  std::uint32_t rows;
  std::uint32_t tokens;
};

// Which part of a product a warp that multiplies has, and where its lane finds it in a stage.
//
// ldmatrix: lane l addresses row l % 8 of matrix l / 8. A's four matrices are (rows 0-7, 8-15) x (k
// 0-7, 8-15), rows first; B's are (k 0-7, 8-15) of two steps for one tile of tokens, or of one step
// for two tiles. A single token is all eight of its tile: seven sums of it nobody takes.
template <SmallLinearShape kShape>
struct WarpPart {
  static constexpr int kSteps = kBoxColumns / 16;
  static constexpr bool kOneTile = kShape.token_tiles == 1;
  static constexpr bool kOneToken = kShape.norms || kShape.single;
  static constexpr int kTokenLoads = kOneTile ? kSteps / 2 : kSteps;  // of a box
  static constexpr int kTokenBoxes = kOneToken ? 1 : kShape.boxes;

  int lane;
  std::uint32_t rows[kSteps];  // from StagePlace::rows, in the first box
  std::uint32_t tokens[kTokenBoxes][kOneToken ? 1 : kTokenLoads];  // from StagePlace::tokens

  // `pitch`: TokenMap's.
  __device__ __forceinline__ WarpPart(int warp, int lane, int pitch) : lane(lane) {
    const int matrix = lane / 8;
    const int row = warp * 16 + (matrix & 1) * 8 + lane % 8;
#pragma unroll
    for (int j = 0; j < kSteps; ++j) {
      rows[j] = KeptInRegister(Swizzled(row, 2 * j + (matrix >> 1)));
    }
    if constexpr (kOneToken) {
      tokens[0][0] = KeptInRegister<std::uint32_t>(16 * (kShape.norms ? lane % 4 : matrix));
    } else {
      const int token = (kOneTile ? 0 : (matrix >> 1) * 8) + lane % 8;
#pragma unroll
      for (int b = 0; b < kTokenBoxes; ++b) {
#pragma unroll
        for (int j = 0; j < kTokenLoads; ++j) {
          const int piece = kOneTile ? 4 * j + matrix : 2 * j + (matrix & 1);
          tokens[b][j] = KeptInRegister(Swizzled(b * pitch + token, piece));
        }
      }
    }
  }

  // Of tokens: columns of two k16 steps, or of one for two tiles.
  __device__ __forceinline__ void LoadTokens(const StagePlace& from, int b, int j,
                                             std::uint32_t (&to)[4]) const {
    if constexpr (kShape.norms) {
      const uint4 value = LoadShared16(from.tokens + tokens[0][0] + 128 * b + 64 * j);
      to[0] = value.x;
      to[1] = value.y;
      to[2] = value.z;
      to[3] = value.w;
    } else if constexpr (kOneToken) {
      LoadMatrices(from.tokens + tokens[0][0] + 128 * b + 64 * j, to);
    } else {
      LoadMatrices(from.tokens + tokens[b][j], to);
    }
  }

 private:
  static __device__ __forceinline__ std::uint32_t Swizzled(int row, int piece) {
    return row * kBoxRowBytes + ((piece ^ row) & 7) * 16;
  }
};

// What a warp multiplies of one box, four k16 steps: its rows of W and the tokens.
template <SmallLinearShape kShape>
struct BoxFragments {
  using Part = WarpPart<kShape>;

  std::uint32_t rows[Part::kSteps][4];
  std::uint32_t tokens[Part::kTokenLoads][4];

  // All loads at once, so that they wait for shared memory together.
  __device__ __forceinline__ void Load(const Part& part, const StagePlace& from, int b) {
#pragma unroll
    for (int j = 0; j < Part::kSteps; ++j) {
      if (!Part::kOneTile || j % 2 == 0) {
        const int load = Part::kOneTile ? j / 2 : j;
        part.LoadTokens(from, b, load, tokens[load]);
      }
      LoadMatrices(from.rows + part.rows[j] + b * kShape.row_bytes(), rows[j]);
    }
  }

  __device__ __forceinline__ void AddStep(int j, float (&sums)[kShape.token_tiles][4]) const {
    const std::uint32_t(&token)[4] = tokens[Part::kOneTile ? j / 2 : j];
    if constexpr (Part::kOneTile) {
      Mma(sums[0], rows[j], token[j % 2 * 2], token[j % 2 * 2 + 1]);
    } else {
      Mma(sums[0], rows[j], token[0], token[1]);
      Mma(sums[1], rows[j], token[2], token[3]);
    }
  }
};

// A warp's sums over the stages of a group, and what it has loaded of them. The next box is on its
// way from shared memory while one is multiplied: of the next stage too if that is there, so that a
// chain of steps waits for nothing but itself. A stage that is not there is not waited for before
// the one in hand is given back.
template <SmallLinearShape kShape>
struct Chain {
  static constexpr int kLastStep = kBoxColumns / 16 - 1;
  static_assert(kShape.boxes % 2 == 0, "a stage begins with the first of two boxes");

  const Ring<kShape>& ring;
  const WarpPart<kShape> part;
  const std::uint32_t one_token;  // where a single token is that does not come by stages, else 0
  const std::uint32_t zero;       // SmallLinearInput's
  BoxFragments<kShape> boxes[2];
  float sums[kShape.token_tiles][4];

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (auto& tile : sums) {
#pragma unroll
      for (float& sum : tile) sum = 0.0F;
    }
  }

  __device__ __forceinline__ StagePlace PlaceOf(const RingPlace& at) const {
    const std::uint32_t rows = ring.Stage(at);
    if (WarpPart<kShape>::kOneToken && one_token != 0) {
      return {rows, one_token + at.chunk * kShape.columns() * 2};
    }
    return {rows, rows + kShape.boxes * kShape.row_bytes()};
  }

  __device__ __forceinline__ void LoadFirstBox(const RingPlace& at) {
    boxes[0].Load(part, PlaceOf(at), 0);
  }

  // Of a stage that is not the first: whether all of it has come, and of a token that comes whole.
  __device__ __forceinline__ bool IsThere(const RingPlace& at) const {
    const bool is_there = IsOver(ring.Full(at), at.round & 1);
    if constexpr (kShape.single) return IsOver(ring.row_there + 8, 0) & is_there;
    return is_there;
  }
  __device__ __forceinline__ void Await(const RingPlace& at) const {
    if constexpr (kShape.single) WaitBarrier(ring.row_there + 8, 0);
    WaitBarrier(ring.Full(at), at.round & 1);
  }

  // Adds the last box of a stage. Before its last step the sums have needed all other loads of the
  // stage, and the step waits for them as well.
  __device__ __forceinline__ void AddLastBox(const BoxFragments<kShape>& box, const RingPlace& at) {
#pragma unroll
    for (int j = 0; j < kLastStep; ++j) box.AddStep(j, sums);
    const std::uint32_t landed = __float_as_uint(sums[0][0]) | box.rows[kLastStep][0] |
                                 box.tokens[WarpPart<kShape>::kTokenLoads - 1][0];
    __syncwarp();
    ArriveAfterIf(part.lane == 0, landed, zero, ring.Empty(at));
    box.AddStep(kLastStep, sums);
  }

  // Adds the stage whose first box is loaded, and loads that of the next one, if there is one.
  __device__ __forceinline__ void AddStage(const RingPlace& at, const RingPlace& next) {
    const bool has_next = next.group < ring.groups;
    bool is_there = false;
#pragma unroll
    for (int b = 0; b + 1 < kShape.boxes; ++b) {
      if (b + 2 == kShape.boxes && has_next) is_there = IsThere(next);
      boxes[(b + 1) % 2].Load(part, PlaceOf(at), b + 1);
#pragma unroll
      for (int j = 0; j <= kLastStep; ++j) boxes[b % 2].AddStep(j, sums);
    }
    is_there = __all_sync(0xFFFFFFFFU, is_there);
    if (is_there) LoadFirstBox(next);
    AddLastBox(boxes[1], at);
    if (!has_next || is_there) return;
    Await(next);
    LoadFirstBox(next);
  }
};

#endif

}  // namespace thinkwire::worker::kernels
