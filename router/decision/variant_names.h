#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/published_models.h"
#include "router/variant_config.h"

namespace thinkwire::router::decision {

// The names by which the world knows a variant of the family beside its own ("qwen-7b",
// "llama-70b", "r1-671b"): the Hugging Face repo id and the Ollama tags that mean it and nothing
// else. A trailing '*' stands for anything. Empty for names that are not of the family.
const std::vector<std::string>& KnownAliases(std::string_view variant_name);

// Whether `name` is an alias of the variant, configured or known.
bool HasAlias(const VariantConfig& variant, std::string_view name);

using thinkwire::MatchesAlias;
using thinkwire::WhyAmbiguous;

}  // namespace thinkwire::router::decision
