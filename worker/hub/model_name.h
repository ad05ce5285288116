#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire::worker::hub {

// Which model of the hub is meant.
struct ModelName {
  std::string repo{};             // "organisation/name", as validate_repo_id of huggingface_hub
  std::string revision = "main";  // a branch, a tag or a commit
  std::string variant{};          // its name among the published models; empty for others
  bool operator==(const ModelName&) const = default;
};

// A whole commit's name: 40 hexadecimal digits.
bool IsCommit(std::string_view revision);

// Whether `repo` may be a repository's id. One that may is safe as a part of a path.
bool IsRepo(std::string_view repo);

// Reads NAME[@REVISION]: a repository's id, one of our own names of the published models
// ("qwen-7b"), or the plain Ollama tag of one ("deepseek-r1:7b"), letter case aside. Fails:
// INVALID_ARGUMENT, one sentence with what would be a name, for a tag that has meant several models
// or means a quantised file of Ollama's, and for what is no name at all.
absl::StatusOr<ModelName> ParseModelName(std::string_view text);

}  // namespace thinkwire::worker::hub
