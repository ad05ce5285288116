#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thinkwire {

// A model of the family, by the names that the world has for it.
struct PublishedModel {
  std::string variant;            // our own: "qwen-7b", "llama-70b", "r1-671b"
  std::string repo;               // Hugging Face's id, "organisation/name"
  std::vector<std::string> tags;  // Ollama's that mean it and nothing else; '*' ends an open one
};

// All of them, smallest first.
const std::vector<PublishedModel>& PublishedModels();

// Whether `name` is `alias`, letter case aside; `alias` may end in '*', which stands for anything.
bool MatchesAlias(std::string_view name, std::string_view alias);

// Why a well-known name cannot be served ("deepseek-r1:8b" means another model today); empty if it
// is not such a name.
std::string_view WhyAmbiguous(std::string_view name);

}  // namespace thinkwire
