// What the products of one distill's layer and its head take on this GPU, by number of tokens:
//   linear_bench MODEL [TOKENS,…]
// For each weight: the way that the backend takes, cuBLASLt without split-K (and SwiGLU's kernel
// after it), the fastest of all shapes of tiles, to check the choice among them, and up to 64
// tokens the product of as large a weight of 4 bits (but the head's, which stays bf16). QKV is
// without bias, rotation and KV writes, which cuBLASLt would need another kernel for. Products over
// weights that the L2 cache does not hold follow each other in one recording; medians of five
// replays.
#include <cuda_bf16.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/recorded_chain.h"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/cuda/linear/int4_product.h"
#include "worker/kernels/cuda/linear/large_linear.h"
#include "worker/kernels/cuda/linear/small_linear.h"
#include "worker/kernels/cuda/linear/swiglu.h"
#include "worker/kernels/cuda/linear/tile_linear.h"
#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::size_t kRotatedBytes = 400 << 20;
constexpr int kLeastRuns = 8;
// What ran before heats the GPU, which then slows down by up to 15 %.
constexpr std::chrono::milliseconds kPause(20);
constexpr int kMostTokens = 4096;

struct Weight {
  const char* name;
  std::int64_t rows;
  std::int64_t columns;
  char output;  // b: bf16, s: SwiGLU, f: f32
};

struct Model {
  const char* name;
  Weight weights[5];
};

constexpr Model kModels[] = {
    {"qwen-1.5b",
     {{"QKV", 2048, 1536, 'b'},
      {"output", 1536, 1536, 'b'},
      {"gate and up", 17920, 1536, 's'},
      {"down", 1536, 8960, 'b'},
      {"head", 151936, 1536, 'f'}}},
    {"qwen-7b",
     {{"QKV", 4608, 3584, 'b'},
      {"output", 3584, 3584, 'b'},
      {"gate and up", 37888, 3584, 's'},
      {"down", 3584, 18944, 'b'},
      {"head", 152064, 3584, 'f'}}},
    {"llama-8b",
     {{"QKV", 6144, 4096, 'b'},
      {"output", 4096, 4096, 'b'},
      {"gate and up", 28672, 4096, 's'},
      {"down", 4096, 14336, 'b'},
      {"head", 128256, 4096, 'f'}}},
    {"qwen-14b",
     {{"QKV", 7168, 5120, 'b'},
      {"output", 5120, 5120, 'b'},
      {"gate and up", 27648, 5120, 's'},
      {"down", 5120, 13824, 'b'},
      {"head", 152064, 5120, 'f'}}},
    {"qwen-32b",
     {{"QKV", 7168, 5120, 'b'},
      {"output", 5120, 5120, 'b'},
      {"gate and up", 55296, 5120, 's'},
      {"down", 5120, 27648, 'b'},
      {"head", 152064, 5120, 'f'}}},
};

__global__ void FillWithNoise(__nv_bfloat16* to, std::size_t count, unsigned seed, float scale) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
    unsigned state = static_cast<unsigned>(i) * 2654435761U ^ seed;
    state = (state ^ state >> 13) * 0x5BD1E995U;
    state ^= state >> 15;
    to[i] = __float2bfloat16_rn((static_cast<float>(state & 0xFFFFU) / 65536.0F - 0.5F) * scale);
  }
}

void* Allocate(std::size_t bytes) {
  void* data = nullptr;
  CUDA_CHECK(cudaMalloc(&data, bytes));
  FillWithNoise<<<1024, 256>>>(static_cast<__nv_bfloat16*>(data), bytes / 2, 7, 0.1F);
  CUDA_CHECK(cudaDeviceSynchronize());
  return data;
}

struct Ways {
  double chosen = 0;
  double large = 0;
  double best_tile = 0;
  double int4 = 0;  // 0: there is none
  std::string chosen_name;
  std::string best_name;
};

class Bench {
 public:
  explicit Bench(const Weight& weight)
      : weight_(weight),
        bytes_(static_cast<std::size_t>(weight.rows * weight.columns) * 2),
        copies_(kRotatedBytes / bytes_ + 1),
        weights_(static_cast<char*>(Allocate(bytes_ * copies_))),
        x_(Allocate(static_cast<std::size_t>(kMostTokens * weight.columns) * 2)),
        out_(Allocate(static_cast<std::size_t>(kMostTokens * weight.rows) * 4)),
        sums_(Allocate(static_cast<std::size_t>(kMostTokens * weight.rows) * 2)) {
    cudaDeviceProp properties = {};
    CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
    num_sms_ = properties.multiProcessorCount;
    Large(0, kMostTokens, OutputOf(kMostTokens));  // chooses algorithms for all fewer tokens too
  }
  ~Bench() {
    for (void* data : {static_cast<void*>(weights_), x_, out_, sums_}) cudaFree(data);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Ways Measure(int tokens) {
    const LinearOutput output = OutputOf(tokens);
    Ways ways;
    ways.large = Microseconds([&](std::size_t i) { Large(i, tokens, output); });
    TileLinear tile = {.rows = weight_.rows,
                       .columns = weight_.columns,
                       .x = x_,
                       .tokens = tokens,
                       .num_sms = num_sms_};
    if (tokens <= kSmallLinearTokens) {
      ways.chosen_name = "stream";
      ways.chosen = Microseconds([&](std::size_t i) { Small(i, tokens, output); });
    } else if (tokens <= MostTileTokens(output, weight_.rows)) {
      ways.chosen_name = NameOfTileShape(ChosenTileShape(tile, output));
      ways.chosen = Microseconds([&](std::size_t i) {
        tile.weights = Copy(i);
        LaunchTileLinear(tile, output, chain_.stream());
      });
    } else {
      ways.chosen_name = "cuBLASLt";
      ways.chosen = ways.large;
    }
    if (tokens <= kInt4ProductTokens && weight_.output != 'f') {
      ways.int4 = Microseconds([&](std::size_t i) { Int4(i, tokens, output); },
                               bytes_ * copies_ / Int4Bytes());
    }
    // Last: what follows so many products is slower by some per cent.
    if (tokens <= kTileTokens) MeasureTiles(tile, output, ways);
    return ways;
  }

 private:
  static constexpr int kTileTokens = 256;

  void* Copy(std::size_t i) const { return weights_ + i % copies_ * bytes_; }

  LinearOutput OutputOf(int tokens) const {
    const std::int64_t rows = weight_.rows;
    if (weight_.output == 'f') return F32Output{MakeTensor(out_, DType::kF32, tokens, rows)};
    if (weight_.output == 'b') return Bf16Output{MakeTensor(out_, DType::kBf16, tokens, rows)};
    return SwiGluOutput{MakeTensor(out_, DType::kBf16, tokens, rows / 2)};
  }

  void Small(std::size_t i, int tokens, const LinearOutput& output) {
    LaunchSmallLinear({.weights = Copy(i),
                       .rows = weight_.rows,
                       .columns = weight_.columns,
                       .x = x_,
                       .tokens = tokens,
                       .num_sms = num_sms_},
                      output, chain_.stream());
  }

  Int4Tiling tiling() const { return ChooseInt4Tiling(weight_.rows, num_sms_); }

  std::size_t Int4Bytes() const {
    return static_cast<std::size_t>(Int4Tiles(weight_.rows, tiling()) *
                                    Int4TileBytes(weight_.columns, tiling()));
  }

  // Over the same memory, whatever numbers that is.
  void Int4(std::size_t i, int tokens, const LinearOutput& output) {
    const std::size_t copies = bytes_ * copies_ / Int4Bytes();
    LaunchInt4Product({.weights = weights_ + i % copies * Int4Bytes(),
                       .tiling = tiling(),
                       .rows = weight_.rows,
                       .columns = weight_.columns,
                       .x = x_,
                       .tokens = tokens,
                       .num_sms = num_sms_},
                      output, chain_.stream());
  }

  void Large(std::size_t i, int tokens, const LinearOutput& output) {
    const auto* const swiglu = std::get_if<SwiGluOutput>(&output);
    large_.Run({.weights = Copy(i),
                .rows = weight_.rows,
                .columns = weight_.columns,
                .x = x_,
                .tokens = tokens,
                .f32_out = weight_.output == 'f',
                .out = swiglu == nullptr ? out_ : sums_},
               chain_.stream());
    if (swiglu == nullptr) return;
    LaunchSwiGlu(MakeTensor(sums_, DType::kBf16, tokens, weight_.rows), swiglu->out,
                 chain_.stream());
  }

  void MeasureTiles(TileLinear& tile, const LinearOutput& output, Ways& ways) {
    for (int shape = 0; shape < NumTileShapes(); ++shape) {
      tile.weights = Copy(0);
      if (!LaunchTileLinearIn(shape, tile, output, chain_.stream())) continue;
      const double time = Microseconds([&](std::size_t i) {
        tile.weights = Copy(i);
        LaunchTileLinearIn(shape, tile, output, chain_.stream());
      });
      if (!ways.best_name.empty() && time >= ways.best_tile) continue;
      ways.best_tile = time;
      ways.best_name = NameOfTileShape(shape);
    }
  }

  double Microseconds(const std::function<void(std::size_t)>& product) {
    return Microseconds(product, copies_);
  }

  double Microseconds(const std::function<void(std::size_t)>& product, std::size_t copies) {
    std::this_thread::sleep_for(kPause);
    return chain_.Microseconds(std::max<std::size_t>(copies, kLeastRuns), product);
  }

  const Weight weight_;
  const std::size_t bytes_;
  const std::size_t copies_;
  char* const weights_;
  void* const x_;
  void* const out_;
  void* const sums_;
  LargeLinear large_;
  bench::RecordedChain chain_;
  int num_sms_ = 0;
};

std::vector<int> ReadTokens(const char* list) {
  std::vector<int> tokens;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) {
    tokens.push_back(std::clamp(std::atoi(part.c_str()), 1, kMostTokens));
  }
  return tokens;
}

// A layer's four products, and all five in the order given.
int Run(const Model& model, const std::vector<int>& tokens) {
  std::vector<double> layer(tokens.size());
  std::vector<double> large_layer(tokens.size());
  for (const Weight& weight : model.weights) {
    Bench bench(weight);
    std::printf("%s %s [%lld, %lld]\n", model.name, weight.name,
                static_cast<long long>(weight.rows), static_cast<long long>(weight.columns));
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const Ways ways = bench.Measure(tokens[i]);
      std::printf(
          "%6d tokens  %-14s %8.1f us   cuBLASLt %8.1f us   best tile %-14s %8.1f us   int4 %8.1f "
          "us\n",
          tokens[i], ways.chosen_name.c_str(), ways.chosen, ways.large, ways.best_name.c_str(),
          ways.best_tile, ways.int4);
      if (weight.output == 'f') continue;
      layer[i] += ways.chosen;
      large_layer[i] += ways.large;
    }
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::printf("%s a layer, %d tokens: %.1f us, by cuBLASLt %.1f us\n", model.name, tokens[i],
                layer[i], large_layer[i]);
  }
  return 0;
}

int Main(int argc, char** argv) {
  const std::vector<int> tokens =
      ReadTokens(argc > 2 ? argv[2]
                          : "1,2,4,8,12,16,24,32,33,40,48,56,64,65,80,96,112,128,129,160,192,193,"
                            "224,256,257,320,384,448,512");
  for (const Model& model : kModels) {
    if (argc > 1 && std::strcmp(argv[1], model.name) == 0) return Run(model, tokens);
  }
  std::fprintf(stderr, "usage: linear_bench MODEL [TOKENS,...]\n");
  return 2;
}

}  // namespace
}  // namespace thinkwire::worker::kernels

int main(int argc, char** argv) { return thinkwire::worker::kernels::Main(argc, argv); }
