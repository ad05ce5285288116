#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/model_files.h"
#include "worker/engine/engine.h"
#include "worker/engine/request.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker {

// A model's shape; weights are seeded noise.
struct Shape {
  std::string name;
  bool llama = false;  // else Qwen2, whose attention has biases; or, with latents, DeepseekV3
  std::int64_t hidden = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;     // of 128
  std::int64_t kv_heads = 0;  // or keys of latents, as wide as a key and a value of so many heads
  std::int64_t ffn = 0;
  std::int64_t vocab = 0;
  bool latents = false;
  std::int64_t latent_rank = 0;  // of latents; 0: what kv_heads says

  // A token's elements in a layer's planes.
  std::int64_t kv_elements() const {
    return latent_rank == 0 ? 2 * kv_heads * 128 : latent_rank + kRotated;
  }
  static constexpr std::int64_t kRotated = 64;  // of a key of latents
};

// What one request gave.
struct Text {
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;
  std::vector<std::vector<step::Alternative>> alternatives;  // to each token
  std::int32_t preemptions = 0;

  // Bit for bit; how often it was preempted is no part of it.
  bool operator==(const Text& other) const {
    return ids == other.ids && logprobs == other.logprobs && alternatives == other.alternatives;
  }
};
void PrintTo(const Text& text, std::ostream* out);

// A loaded model with the real scheduler.
class WholeEngine {
 public:
  // `options` without model_dir and random_weights. Without prefix caching, so that every prompt is
  // computed, unless it is asked for.
  WholeEngine(const Shape& shape, model::ModelOptions options, bool enable_prefix_caching = false);

  // Why there is none, e.g. too few GPUs; empty if there is one.
  const std::string& why_none() const { return why_none_; }

  const step::Limits& limits() const { return runner_->limits(); }

  engine::EngineStatus status() const { return engine_->status(); }

  // All at once; the texts in the order of the requests.
  std::vector<Text> Run(const std::vector<engine::Request>& requests);
  // One after the other.
  std::vector<Text> RunAlone(const std::vector<engine::Request>& requests);

 private:
  model::TempDir dir_;
  std::string why_none_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<engine::Engine> engine_;
};

// Request `index` of a workload: random prompt, both phases' sampling its own.
engine::Request RandomRequest(std::uint64_t index, std::int32_t prompt_tokens,
                              std::int32_t max_tokens, std::int32_t vocab);

}  // namespace thinkwire::worker
