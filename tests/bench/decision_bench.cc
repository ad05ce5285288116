// What one decision costs the router, and the look at the text before it where no task is said.
// Medians of processor time.
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/decision/crowding.h"
#include "router/decision/experience.h"
#include "router/decision/score_policy.h"
#include "router/task_estimate.h"
#include "tests/bench/statistics.h"

namespace {

using namespace thinkwire;
using namespace thinkwire::router;

constexpr int kRuns = 101;
constexpr int kCallsOfRun = 100;

double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double Microseconds(const std::function<void()>& call) {
  std::vector<double> runs;
  for (int i = 0; i < kRuns; ++i) {
    const double begin = ThreadSeconds();
    for (int j = 0; j < kCallsOfRun; ++j) call();
    runs.push_back(1e6 * (ThreadSeconds() - begin) / kCallsOfRun);
  }
  return bench::Median(runs);
}

std::vector<VariantConfig> Family() {
  std::vector<VariantConfig> variants;
  for (const char* name :
       {"qwen-1.5b", "qwen-7b", "llama-8b", "qwen-14b", "qwen-32b", "llama-70b", "r1-671b"}) {
    variants.push_back({.name = name, .traits = KnownTraits(name)});
  }
  return variants;
}

// What streams of a worker have shown, which are twenty times as slow together as alone.
decision::Crowding Crowded(double alone_s, double places) {
  decision::Crowding crowding;
  for (int i = 0; i < 100; ++i) {
    const double busy = i % 8 / 8.0;
    crowding.Learn(busy, alone_s * (1 + 19 * busy), places);
  }
  return crowding;
}

// All live, each with other load and pace, so that the best one is found late as well as early.
std::vector<decision::WorkerView> Fleet(std::size_t workers, std::size_t variants,
                                        std::int32_t places) {
  std::vector<decision::WorkerView> fleet;
  for (std::size_t i = 0; i < workers; ++i) {
    const auto load = static_cast<std::int32_t>(i * 37 % 96) * places / 64;
    const double pace = 0.005 + 0.0001 * static_cast<double>(i * 13 % 101);
    fleet.push_back({.variant = i % variants,
                     .address = "10.0.0.1:50061",
                     .status = decision::WorkerStatus{.max_model_len = 131'072,
                                                      .queued = std::max(load - places, 0),
                                                      .running = std::min(load, places),
                                                      .max_num_seqs = places},
                     .seconds_per_token = pace,
                     .crowding = Crowded(pace, places),
                     .prompt_tokens_per_s = 5000});
  }
  return fleet;
}

struct Asked {
  const char* what;
  decision::Query query;
  std::int32_t places = 64;  // of each worker
};

// Of one prompt, at as many workers as the index knows at most.
std::vector<decision::CachedPrefix> Cached() {
  std::vector<decision::CachedPrefix> cached;
  for (std::size_t i = 0; i < 8; ++i) cached.push_back({.worker = 3 + 11 * i, .bytes = 1000});
  return cached;
}

std::vector<Asked> Queries() {
  return {{"nothing, and eight workers have some of its prompt",
           {.estimated_task = Task::kMath, .prompt_bytes = 2000, .cached = Cached()}},
          {"named", {.variant = "qwen-14b"}},
          {"nothing", {.estimated_task = Task::kMath, .prompt_bytes = 2000}},
          {"nothing but a deadline",
           {.estimated_task = Task::kMath, .prompt_bytes = 2000, .deadline_s = 60}},
          {"the same, to workers of 1,024 places",
           {.estimated_task = Task::kMath, .prompt_bytes = 2000, .deadline_s = 60},
           1024},
          {"all wishes and a deadline",
           {.task = Task::kCode,
            .prompt_bytes = 2000,
            .deadline_s = 60,
            .wishes = {.quality = 0.5, .asks_quality = true, .latency_s = 30, .max_cost = 1}}}};
}

double DecisionTime(const Asked& asked, std::size_t workers) {
  static const std::vector<VariantConfig> variants = Family();
  static const decision::ScorePolicy policy(variants);
  static const decision::Experience experience(variants);
  const std::vector<decision::WorkerView> fleet = Fleet(workers, variants.size(), asked.places);
  return Microseconds([&] {
    if (!policy.Decide(asked.query, {.workers = fleet, .variants = experience.views()}).ok()) {
      std::puts("refused");
    }
  });
}

std::string Repeat(std::string_view unit, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  text.resize(bytes);
  return text;
}

}  // namespace

int main() {
  std::printf("| the request says | 100 workers, us | 700 workers, us |\n|---|---|---|\n");
  for (const Asked& asked : Queries()) {
    std::printf("| %s | %.1f | %.1f |\n", asked.what, DecisionTime(asked, 100),
                DecisionTime(asked, 700));
  }
  std::printf("\n| a text of | English, us | Chinese, us |\n|---|---|---|\n");
  for (const std::size_t bytes : {100, 1000, 4096, 1 << 20}) {
    const std::string english = Repeat("Why is the sum of the first n odd numbers n^2? ", bytes);
    const std::string chinese = Repeat("为什么前n个奇数的和是一个平方数？", bytes);
    std::printf("| %zu bytes | %.1f | %.1f |\n", bytes,
                Microseconds([&] { EstimateTask(english); }),
                Microseconds([&] { EstimateTask(chinese); }));
  }
}
