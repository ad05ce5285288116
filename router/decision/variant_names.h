#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "router/variant_config.h"

namespace thinkwire::router::decision {

// The names by which the world knows a variant of the family beside its own ("qwen-7b",
// "llama-70b", "r1-671b"): the Hugging Face repo id and the Ollama tags that mean it and nothing
// else. A trailing '*' stands for anything. Empty for names that are not of the family.
const std::vector<std::string>& KnownAliases(std::string_view variant_name);

// Whether `name` is `alias`, letter case aside; `alias` may end in '*'.
bool MatchesAlias(std::string_view name, std::string_view alias);

// Whether `name` is an alias of the variant, configured or known.
bool HasAlias(const VariantConfig& variant, std::string_view name);

// Why a well-known name cannot be served ("deepseek-r1:8b" means another model today); empty if it
// is not such a name.
std::string_view WhyAmbiguous(std::string_view name);

}  // namespace thinkwire::router::decision
