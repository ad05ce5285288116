#include "router/variant_traits.h"

#include <cmath>

namespace thinkwire::router {
namespace {

struct Published {
  std::string_view name;
  double aime, math500, gpqa, live_code_bench;  // percent
  double codeforces;                            // a rating
  double billions;                              // of parameters that a token reads
  std::int32_t context_tokens = 131'072;
};

constexpr Published kPublished[] = {
    {"qwen-1.5b", 28.9, 83.9, 33.8, 16.9, 954, 1.5},
    {"qwen-7b", 55.5, 92.8, 49.1, 37.6, 1189, 7},
    {"llama-8b", 50.4, 89.1, 49.0, 39.6, 1205, 8},
    {"qwen-14b", 69.7, 93.9, 59.1, 53.1, 1481, 14},
    {"qwen-32b", 72.6, 94.3, 62.1, 57.2, 1691, 32},
    {"llama-70b", 70.0, 94.5, 65.2, 57.5, 1633, 70},
    {"r1-671b", 79.8, 97.3, 71.5, 65.9, 2029, 37, 163'840},
};

constexpr double kUnknownQuality = 0.5;
constexpr double kSpread = 2.5;  // p90 / p50 of reasoning

// The share of problems that it solves which half of those solve who begin there: a rating on
// Codeforces is Elo's, and everybody's first is 1,400.
double ShareSolved(double rating) { return 1 / (1 + std::pow(10, (1400 - rating) / 400)); }

PerTask<double> QualityOf(const Published& model) {
  const double general = (model.math500 + model.gpqa) / 2;
  PerTask<double> quality;
  quality[Task::kGeneral] = general / 100;
  quality[Task::kMath] = model.aime / 100;
  quality[Task::kCode] = (model.live_code_bench / 100 + ShareSolved(model.codeforces)) / 2;
  quality[Task::kScience] = model.gpqa / 100;
  quality[Task::kWriting] = general / 100;
  quality[Task::kExtraction] = model.math500 / 100;
  return quality;
}

double TypicalReasoning(Task task) {
  switch (task) {
    case Task::kExtraction:
      return 100;
    case Task::kGeneral:
    case Task::kWriting:
      return 750;
    case Task::kCode:
    case Task::kScience:
      return 3000;
    case Task::kMath:
      return 6000;
  }
  return 750;
}

}  // namespace

VariantTraits KnownTraits(std::string_view variant_name) {
  VariantTraits traits;
  traits.quality.values.fill(kUnknownQuality);
  for (const Task task : kAllTasks) {
    traits.reasoning[task] = {TypicalReasoning(task), kSpread * TypicalReasoning(task)};
  }
  for (const Published& model : kPublished) {
    if (model.name != variant_name) continue;
    traits.quality = QualityOf(model);
    traits.cost_per_million = model.billions;
    traits.context_tokens = model.context_tokens;
  }
  return traits;
}

}  // namespace thinkwire::router
