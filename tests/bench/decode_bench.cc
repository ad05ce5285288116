// Decoding at batch 1 beside what plain reading reaches with the same threads in the same run:
//   decode_bench [DIR with a config.json] [THREADS]
// The share is weight bytes a token x tokens a second / bytes a second of plain reading, the median
// over repetitions that read and decode in turn. Weights are random; needs their size in memory
// and 2 GB more.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "tests/bench/read_roof.h"
#include "worker/model/model_runner.h"

namespace thinkwire::bench {
namespace {

using worker::engine::kLastSampled;
using worker::engine::StepPlan;
using worker::model::ModelRunner;

constexpr int kRepetitions = 9;
constexpr std::int32_t kTokens = 16;  // decoded a repetition
constexpr std::size_t kReadBytes = std::size_t{2} << 30;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Decodes one sequence, greedily, two steps in flight.
class Decoding {
 public:
  explicit Decoding(ModelRunner& runner) : runner_(runner) {
    StepPlan plan = NextPlan();
    plan.rows[0].first_id = 0;
    plan.input_ids = {1};
    for (std::int32_t i = 0; i < runner.limits().num_blocks; ++i) {
      plan.block_table_changes.push_back({0, i, i});
    }
    worker::engine::SamplingChange change;
    for (auto& phase : change.params.phases) phase.temperature = 0;
    plan.sampling_changes.push_back(change);
    runner_.Submit(std::move(plan));
    runner_.Collect();
  }

  // Tokens a second over `count` more tokens.
  double Measure(std::int32_t count) {
    const auto start = std::chrono::steady_clock::now();
    runner_.Submit(NextPlan());
    for (std::int32_t i = 1; i < count; ++i) {
      runner_.Submit(NextPlan());
      runner_.Collect();
    }
    runner_.Collect();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return count / seconds.count();
  }

 private:
  StepPlan NextPlan() {
    StepPlan plan;
    plan.step = ++step_;
    plan.rows.push_back({0, position_++, 1, kLastSampled, true});
    return plan;
  }

  ModelRunner& runner_;
  std::uint64_t step_ = 0;
  std::int32_t position_ = 0;
};

int Run(const char* dir, int threads) {
  worker::model::ModelOptions options;
  options.model_dir = dir;
  options.random_weights = true;
  options.cpu_threads = threads;
  options.max_num_seqs = 1;
  options.max_num_batched_tokens = 16;
  options.max_model_len = 1024;
  auto loaded = worker::model::LoadModel(options);
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n", std::string(loaded.status().message()).c_str());
    return 1;
  }
  ModelRunner& runner = **loaded;
  const auto bytes = static_cast<double>(runner.info().weight_bytes_per_token);
  std::printf("%s, %s, %.3f GB of weights a token\n", runner.info().fingerprint.c_str(),
              runner.info().device.c_str(), bytes / 1e9);
  ReadRoof roof(kReadBytes, threads);
  Decoding decoding(runner);
  std::vector<double> reads;
  std::vector<double> rates;
  std::vector<double> shares;
  for (int i = 0; i < kRepetitions; ++i) {
    reads.push_back(roof.Measure());
    rates.push_back(decoding.Measure(kTokens));
    shares.push_back(bytes * rates.back() / reads.back());
    std::printf("read %6.2f GB/s   decode %6.2f tok/s = %6.2f GB/s   %5.1f %%\n",
                reads.back() / 1e9, rates.back(), bytes * rates.back() / 1e9, 100 * shares.back());
  }
  std::printf("median: read %.2f GB/s, decode %.2f tok/s = %.2f GB/s, %.1f %% of plain reading\n",
              Median(reads) / 1e9, Median(rates), bytes * Median(rates) / 1e9,
              100 * Median(shares));
  return 0;
}

}  // namespace
}  // namespace thinkwire::bench

int main(int argc, char** argv) {
  const char* dir = argc > 1 ? argv[1] : "tests/data/models/qwen-1.5b-shape";
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const int threads = argc > 2 ? std::atoi(argv[2]) : cores;
  return thinkwire::bench::Run(dir, std::max(1, threads));
}
