#include "router/decision/experience.h"

#include <algorithm>
#include <utility>

#include "router/decision/completion_estimate.h"

namespace thinkwire::router::decision {
namespace {

constexpr LengthQuantiles kAnswer{300, 1000};
constexpr double kBytesPerToken = 4;
// Prompts that are shorter are mostly template.
constexpr double kMinPromptTokens = 50;
constexpr double kPromptShare = 0.05;
constexpr double kPaceShare = 0.2;

void MoveTowards(double value, double share, double& mean) {
  mean = mean > 0 ? mean + share * (value - mean) : value;
}

void LearnLength(double tokens, LengthSketch& sketch, LengthQuantiles& view) {
  if (tokens <= 0) return;
  sketch.Add(tokens);
  view = sketch.Quantiles();
}

}  // namespace

Experience::Experience(std::span<const VariantConfig> variants) {
  for (const VariantConfig& variant : variants) Add(variant);
}

void Experience::Add(const VariantConfig& variant) {
  expected_.push_back(variant.traits.reasoning);
  Sketches& sketches = sketches_.emplace_back();
  VariantView& view = views_.emplace_back();
  view.bytes_per_token = kBytesPerToken;
  view.reasoning = variant.traits.reasoning;
  view.answer.values.fill(kAnswer);
  for (const LengthQuantiles& prior : variant.traits.reasoning.values) {
    sketches.reasoning.emplace_back(prior);
    sketches.answer.emplace_back(kAnswer);
  }
}

void Experience::Reconfigure(std::span<const VariantConfig> variants) {
  for (std::size_t v = 0; v < expected_.size(); ++v) {
    for (const Task task : kAllTasks) {
      const LengthQuantiles& prior = variants[v].traits.reasoning[task];
      if (std::exchange(expected_[v][task], prior) == prior) continue;
      sketches_[v].reasoning[static_cast<std::size_t>(task)] = LengthSketch(prior);
      views_[v].reasoning[task] = prior;
    }
  }
  for (std::size_t v = expected_.size(); v < variants.size(); ++v) Add(variants[v]);
}

void Experience::Learn(const Taken& taken) {
  Sketches& sketches = sketches_[taken.variant];
  VariantView& view = views_[taken.variant];
  const auto task = static_cast<std::size_t>(taken.task);
  LearnLength(taken.reasoning_tokens, sketches.reasoning[task], view.reasoning[taken.task]);
  LearnLength(taken.answer_tokens, sketches.answer[task], view.answer[taken.task]);
  if (taken.prompt_tokens < kMinPromptTokens || taken.prompt_bytes <= 0) return;
  MoveTowards(std::clamp(taken.prompt_bytes / taken.prompt_tokens, 0.5, 16.0), kPromptShare,
              view.bytes_per_token);
}

void LearnPace(double seconds_per_token, double prompt_tokens_per_s, WorkerView& worker) {
  const double places = worker.status->max_num_seqs;
  const double busy = std::min(Load(worker) / places, 1.0);
  if (seconds_per_token > 0) {
    MoveTowards(seconds_per_token / (1 + busy), kPaceShare, worker.seconds_per_token);
    worker.crowding.Learn(BusyShare(StreamsAt(worker), places), seconds_per_token, places);
  }
  if (prompt_tokens_per_s > 0) {
    MoveTowards(prompt_tokens_per_s, kPaceShare, worker.prompt_tokens_per_s);
  }
}

}  // namespace thinkwire::router::decision
