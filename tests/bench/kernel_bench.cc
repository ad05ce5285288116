// What the CPU backend reaches on qwen-1.5b's shapes, beside what its threads can read at all:
//   kernel_bench [threads] [repetitions] [portable|avx2|avx512|avx512bf16] [bf16|q8_0|q6_k|q4_k]
// Plain reads and the linears of steps of 1 to 512 tokens alternate, so that a busy machine slows
// all alike; medians are printed. On one thread the processor's time is the one to look at where
// others keep the machine busy.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/read_roof.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kHidden = 1536;
constexpr std::int64_t kFfn = 8960;
constexpr std::int64_t kQkvRows = (12 + 2 * 2) * 128;
constexpr std::int64_t kVocab = 151936;
constexpr int kLayers = 28;
constexpr std::int64_t kMostDrawn = 16;  // of a step with more tokens one alone is drawn
constexpr std::int64_t kSteps[] = {1, 2, 4, 8, 16, 512};  // tokens

struct Layer {
  std::unique_ptr<LinearWeight> qkv;
  std::unique_ptr<LinearWeight> out;
  std::unique_ptr<LinearWeight> gate_up;
  std::unique_ptr<LinearWeight> down;
};

class Weights {
 public:
  Weights(CpuBackend& backend, Encoding encoding)
      : encoding_(encoding),
        noise_(static_cast<std::size_t>(BytesOf(encoding, kVocab * kHidden)) / 2) {
    std::uint32_t state = 1;
    for (std::uint16_t& value : noise_) {
      state = state * 1664525U + 1013904223U;
      value = Bf16FromF32(static_cast<float>(static_cast<std::int32_t>(state)) * 1e-11F);
      // Scales that are small numbers and no subnormal ones, wherever they are.
      if (IsPacked(encoding)) {
        value = static_cast<std::uint16_t>((state >> 16 & 0x8383U) | 0x1010U);
      }
    }
    for (int i = 0; i < kLayers; ++i) {
      Layer layer;
      layer.qkv = Make(backend, kQkvRows, kHidden);
      layer.out = Make(backend, kHidden, kHidden);
      const std::vector<WeightSlice> gate_up(2, Slice(kFfn, kHidden));
      layer.gate_up = backend.MakeLinear(gate_up, {}, LinearLayout::kGateUp);
      layer.down = Make(backend, kHidden, kFfn);
      for (const auto* weight : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) {
        layer_bytes_ += (*weight)->bytes();
        layer_weights_ += (*weight)->in_features() * (*weight)->out_features();
      }
      layers.push_back(std::move(layer));
    }
    lm_head = Make(backend, kVocab, kHidden);
  }

  std::int64_t layer_weights() const { return layer_weights_; }
  std::size_t bytes() const { return layer_bytes_ + lm_head->bytes(); }

  std::vector<Layer> layers;
  std::unique_ptr<LinearWeight> lm_head;

 private:
  WeightSlice Slice(std::int64_t rows, std::int64_t cols) const {
    return {.data = noise_.data(),
            .encoding = encoding_,
            .rows = rows,
            .cols = cols,
            .row_stride = cols};
  }
  std::unique_ptr<LinearWeight> Make(CpuBackend& backend, std::int64_t rows, std::int64_t cols) {
    const std::vector<WeightSlice> parts = {Slice(rows, cols)};
    return backend.MakeLinear(parts, {}, LinearLayout::kPlain);
  }

  const Encoding encoding_;
  std::vector<std::uint16_t> noise_;
  std::size_t layer_bytes_ = 0;
  std::int64_t layer_weights_ = 0;
};

// Activations of one step.
struct Activations {
  explicit Activations(std::int64_t tokens)
      : tokens(tokens),
        x(static_cast<std::size_t>(tokens * kHidden), 0.5F),
        qkv(static_cast<std::size_t>(tokens * kQkvRows)),
        ffn(static_cast<std::size_t>(tokens * kFfn)),
        y(static_cast<std::size_t>(tokens * kHidden)),
        logits(static_cast<std::size_t>((tokens <= kMostDrawn ? tokens : 1) * kVocab)) {}

  Tensor Of(std::vector<float>& values, std::int64_t width) const {
    return MakeTensor(values.data(), DType::kF32, tokens, width);
  }

  std::int64_t tokens;
  std::vector<float> x;
  std::vector<float> qkv;
  std::vector<float> ffn;
  std::vector<float> y;
  std::vector<float> logits;
};

void RunLayers(CpuBackend& backend, const Weights& weights, Activations& a) {
  for (const Layer& layer : weights.layers) {
    backend.Linear(a.Of(a.x, kHidden), *layer.qkv, a.Of(a.qkv, kQkvRows));
    backend.Linear(a.Of(a.x, kHidden), *layer.out, a.Of(a.y, kHidden));
    backend.GateUpSwiGlu(a.Of(a.x, kHidden), *layer.gate_up, a.Of(a.ffn, kFfn));
    backend.Linear(a.Of(a.ffn, kFfn), *layer.down, a.Of(a.y, kHidden));
  }
}

struct Seconds {
  double wall;
  double processor;  // over all threads
};

Seconds SecondsOf(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t processor = std::clock();
  body();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  return {wall.count(), static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The linears of steps of so many tokens.
class StepTimes {
 public:
  explicit StepTimes(std::int64_t tokens) : activations_(tokens) {}

  std::int64_t tokens() const { return activations_.tokens; }

  void Measure(CpuBackend& backend, const Weights& weights) {
    const Seconds seconds = SecondsOf([&] {
      RunLayers(backend, weights, activations_);
      const std::int64_t drawn = tokens() <= kMostDrawn ? tokens() : 1;
      backend.LmHead(MakeTensor(activations_.x.data(), DType::kF32, drawn, kHidden),
                     *weights.lm_head,
                     MakeTensor(activations_.logits.data(), DType::kF32, drawn, kVocab));
    });
    wall_.push_back(seconds.wall);
    processor_.push_back(seconds.processor);
  }

  void Print(const Weights& weights, double read_seconds) const {
    const double wall = Median(wall_);
    const double flops = 2 * static_cast<double>(weights.layer_weights() * tokens());
    std::printf(
        "%4d tokens: %8.1f ms, %5.1f GB/s, %3.0f %% of the plain read; %6.1f GFLOP/s, %6.1f "
        "tokens/s; %8.1f ms of processor\n",
        static_cast<int>(tokens()), wall * 1e3, static_cast<double>(weights.bytes()) / wall / 1e9,
        read_seconds / wall * 100, flops / wall / 1e9, static_cast<double>(tokens()) / wall,
        Median(processor_) * 1e3);
  }

 private:
  Activations activations_;
  std::vector<double> wall_;
  std::vector<double> processor_;
};

int Main(int argc, char** argv) {
  const int threads =
      argc > 1 ? std::atoi(argv[1]) : static_cast<int>(std::thread::hardware_concurrency());
  const int repetitions = argc > 2 ? std::atoi(argv[2]) : 9;
  const std::string isa = argc > 3 ? argv[3] : "";
  if (threads < 1 || repetitions < 1) {
    std::fprintf(stderr,
                 "usage: kernel_bench [threads] [repetitions] [portable|avx2|avx512|avx512bf16] "
                 "[bf16|q8_0|q6_k|q4_k]\n");
    return 2;
  }
  CpuBackend backend(threads, isa == "portable"     ? Isa::kPortable
                              : isa == "avx2"       ? Isa::kAvx2
                              : isa == "avx512"     ? Isa::kAvx512
                              : isa == "avx512bf16" ? Isa::kAvx512Bf16
                                                    : BestIsa());
  const std::string encoding = argc > 4 ? argv[4] : "bf16";
  const Weights weights(backend, encoding == "q8_0"   ? Encoding::kQ8_0
                                 : encoding == "q6_k" ? Encoding::kQ6K
                                 : encoding == "q4_k" ? Encoding::kQ4K
                                                      : Encoding::kBf16);
  const std::size_t bytes = weights.bytes();
  bench::ReadRoof plain(bytes, threads);
  std::printf("%s, %s, %d repetitions\n", backend.capabilities().name.c_str(), encoding.c_str(),
              repetitions);
  std::vector<double> read;
  std::vector<StepTimes> steps;
  for (const std::int64_t tokens : kSteps) steps.emplace_back(tokens);
  for (int i = 0; i < repetitions; ++i) {
    read.push_back(static_cast<double>(bytes) / plain.Measure());
    for (StepTimes& step : steps) {
      if (step.tokens() < 512 || i % 4 == 0) step.Measure(backend, weights);
    }
  }
  std::printf("plain read of %.2f GB: %.1f GB/s\n", static_cast<double>(bytes) / 1e9,
              static_cast<double>(bytes) / 1e9 / Median(read));
  for (const StepTimes& step : steps) step.Print(weights, Median(read));
  return 0;
}

}  // namespace
}  // namespace thinkwire::worker::kernels

int main(int argc, char** argv) { return thinkwire::worker::kernels::Main(argc, argv); }
