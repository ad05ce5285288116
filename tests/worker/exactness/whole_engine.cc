#include "tests/worker/exactness/whole_engine.h"

#include <nlohmann/json.hpp>
#include <ostream>
#include <random>
#include <utility>

#include "common/check.h"
#include "common/clock.h"
#include "tests/worker/engine/reader.h"
#include "tests/worker/model/local_plans.h"

namespace thinkwire::worker {
namespace {

using engine::Reader;
using engine::Request;

// What a DeepseekV3 says beyond, and otherwise: the last layers have experts.
void SetLatents(const Shape& shape, nlohmann::json& config) {
  const nlohmann::json more = {{"model_type", "deepseek_v3"},
                               {"num_key_value_heads", shape.heads},
                               {"q_lora_rank", 128},
                               {"kv_lora_rank", shape.kv_elements() - Shape::kRotated},
                               {"qk_nope_head_dim", 64},
                               {"qk_rope_head_dim", Shape::kRotated},
                               {"v_head_dim", 64},
                               {"first_k_dense_replace", 1},
                               {"n_routed_experts", 16},
                               {"num_experts_per_tok", 4},
                               {"n_group", 4},
                               {"topk_group", 2},
                               {"n_shared_experts", 1},
                               {"moe_intermediate_size", shape.ffn / 4},
                               {"routed_scaling_factor", 2.5}};
  config.update(more);
  config.erase("architectures");
}

std::string ConfigOf(const Shape& shape) {
  nlohmann::json config = {
      {"architectures", {shape.llama ? "LlamaForCausalLM" : "Qwen2ForCausalLM"}},
      {"eos_token_id", 0},
      {"head_dim", 128},
      {"hidden_act", "silu"},
      {"hidden_size", shape.hidden},
      {"intermediate_size", shape.ffn},
      {"max_position_embeddings", 4096},
      {"model_type", shape.llama ? "llama" : "qwen2"},
      {"num_attention_heads", shape.heads},
      {"num_hidden_layers", shape.layers},
      {"num_key_value_heads", shape.kv_heads},
      {"rms_norm_eps", 1e-6},
      {"rope_theta", 10000},
      {"tie_word_embeddings", false},
      {"vocab_size", shape.vocab}};
  if (shape.latents) SetLatents(shape, config);
  return config.dump();
}

}  // namespace

void PrintTo(const Text& text, std::ostream* out) {
  for (std::size_t i = 0; i < text.ids.size(); ++i) {
    *out << text.ids[i] << " (" << text.logprobs[i] << ") ";
  }
}

WholeEngine::WholeEngine(const Shape& shape, model::ModelOptions options,
                         bool enable_prefix_caching) {
  model::WriteFile(dir_.path() / "config.json", ConfigOf(shape));
  options.model_dir = dir_.path();
  options.random_weights = true;
  auto runner = model::LoadModel(options, model::LocalPlans(options));
  if (!runner.ok()) {
    why_none_ = std::string(runner.status().message());
    return;
  }
  runner_ = *std::move(runner);
  engine::EngineConfig config;
  config.enable_prefix_caching = enable_prefix_caching;
  engine_ = std::make_unique<engine::Engine>(config, *runner_, Clock::Real());
}

std::vector<Text> WholeEngine::Run(const std::vector<Request>& requests) {
  std::vector<std::unique_ptr<Reader>> readers;
  for (const Request& request : requests) {
    readers.push_back(std::make_unique<Reader>());
    CHECK(engine_->Submit(request, readers.back()->stream()).ok(), "the request is taken");
  }
  std::vector<Text> texts;
  for (const auto& reader : readers) {
    reader->WaitEnding();
    CHECK(reader->ending()->reason == engine::EndReason::kLength, "outputs run to their length");
    Text& text = texts.emplace_back();
    text.preemptions = reader->ending()->preemptions;
    for (const engine::Token& token : reader->tokens()) {
      text.ids.push_back(token.id);
      text.logprobs.push_back(token.logprob);
      text.alternatives.push_back(token.alternatives);
    }
  }
  return texts;
}

std::vector<Text> WholeEngine::RunAlone(const std::vector<Request>& requests) {
  std::vector<Text> texts;
  for (const Request& request : requests) texts.push_back(Run({request}).front());
  return texts;
}

Request RandomRequest(std::uint64_t index, std::int32_t prompt_tokens, std::int32_t max_tokens,
                      std::int32_t vocab) {
  std::mt19937_64 random(index);
  std::uniform_int_distribution<std::int32_t> id(0, vocab - 1);
  Request request;
  for (std::int32_t i = 0; i < prompt_tokens; ++i) request.prompt_ids.push_back(id(random));
  for (step::PhaseSampling& phase : request.sampling.phases) {
    phase.temperature = index % 3 == 0 ? 0.0F : 0.7F;
    phase.top_p = index % 2 == 0 ? 0.95F : 1.0F;
    phase.top_k = index % 5 == 0 ? 40 : 0;
  }
  if (index % 3 == 1) {
    request.sampling.phases[step::Phase::kReasoning].repetition_penalty = 1.3F;
    for (std::int32_t i = 0; i < 30; ++i) {
      request.logit_bias[step::Phase::kReasoning].push_back({i, static_cast<float>(i % 5) - 2});
    }
  }
  request.sampling.seed = index;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.logprobs = true;
  request.alternatives = index % 4 == 1 ? 20 : 0;
  return request;
}

}  // namespace thinkwire::worker
