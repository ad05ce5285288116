#include "common/published_models.h"

#include "absl/strings/match.h"
#include "common/strings.h"

namespace thinkwire {

const std::vector<PublishedModel>& PublishedModels() {
  static const auto& models = *new std::vector<PublishedModel>{
      {"qwen-1.5b",
       "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
       {"deepseek-r1:1.5b", "deepseek-r1:1.5b-qwen-distill-*"}},
      {"qwen-7b",
       "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
       {"deepseek-r1:7b", "deepseek-r1:7b-qwen-distill-*"}},
      // Plain "8b" is not Llama since mid-2025.
      {"llama-8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", {"deepseek-r1:8b-llama-distill-*"}},
      {"qwen-14b",
       "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B",
       {"deepseek-r1:14b", "deepseek-r1:14b-qwen-distill-*"}},
      {"qwen-32b",
       "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
       {"deepseek-r1:32b", "deepseek-r1:32b-qwen-distill-*"}},
      {"llama-70b",
       "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
       {"deepseek-r1:70b", "deepseek-r1:70b-llama-distill-*"}},
      {"r1-671b", "deepseek-ai/DeepSeek-R1", {"deepseek-r1:671b", "deepseek-r1:671b-q4_K_M"}},
  };
  return models;
}

bool MatchesAlias(std::string_view name, std::string_view alias) {
  if (alias.ends_with('*')) {
    alias.remove_suffix(1);
    return name.size() > alias.size() && absl::StartsWithIgnoreCase(View(name), View(alias));
  }
  return absl::EqualsIgnoreCase(View(name), View(alias));
}

std::string_view WhyAmbiguous(std::string_view name) {
  for (const std::string_view tag :
       {"deepseek-r1", "deepseek-r1:latest", "deepseek-r1:8b", "deepseek-r1:8b-0528-qwen3-*"}) {
    if (MatchesAlias(name, tag)) {
      return "this Ollama tag has meant different models over time; name the variant itself";
    }
  }
  return "";
}

}  // namespace thinkwire
