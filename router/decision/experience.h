#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "router/decision/length_sketch.h"
#include "router/decision/variant_view.h"
#include "router/decision/worker_view.h"
#include "router/task.h"
#include "router/variant_config.h"

namespace thinkwire::router::decision {

// What one request has taken, at its end.
struct Taken {
  std::size_t variant = 0;
  Task task = Task::kGeneral;  // said or estimated
  double prompt_bytes = 0;
  double prompt_tokens = 0;
  // Zeros where the model did not end by itself: a limit says nothing of how long it would think.
  double reasoning_tokens = 0;
  double answer_tokens = 0;
};

// What requests of each variant take, learnt from those that have ended: prompt tokens for their
// bytes, and the lengths of reasoning and answer by task (LengthSketch). Begins with
// VariantTraits::reasoning, 300 tokens of answer (nine of ten below 1,000) and four bytes a token.
// Memory is constant: two sketches of 1.3 KB for each variant and task.
// Threads: one at a time.
class Experience {
 public:
  explicit Experience(std::span<const VariantConfig> variants);

  // The variants are these from now on. What was learnt of each stays, but of a task of which the
  // configuration expects something else now. REQUIRES: the earlier ones have the same indices.
  void Reconfigure(std::span<const VariantConfig> variants);

  void Learn(const Taken& taken);
  std::span<const VariantView> views() const { return views_; }

 private:
  struct Sketches {
    std::vector<LengthSketch> reasoning;  // by task
    std::vector<LengthSketch> answer;
  };

  void Add(const VariantConfig& variant);

  std::vector<PerTask<LengthQuantiles>> expected_;  // by variant, as configured
  std::vector<Sketches> sketches_;
  std::vector<VariantView> views_;
};

// Learns how fast a worker was to one stream: `seconds_per_token` between its tokens, beside what
// the worker has now, and `prompt_tokens_per_s`; zero where it was not seen. What is kept is how
// much load costs (Crowding), and a mean in which the latest counts for a fifth, of the pace
// without load (EstimateCompletion slows it down again). REQUIRES: the worker is live, and has the
// stream still.
void LearnPace(double seconds_per_token, double prompt_tokens_per_s, WorkerView& worker);

}  // namespace thinkwire::router::decision
