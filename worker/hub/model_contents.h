#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace thinkwire::worker::hub {

// Which files of a repository a worker needs: of what a repository has beside them (pictures, other
// frameworks' weights, a second copy of the weights) nothing is downloaded.

inline constexpr char kWeightsFile[] = "model.safetensors";
inline constexpr char kIndexFile[] = "model.safetensors.index.json";

// Whether a repository's file of that path may be a part of the path to one here: relative, without
// "..", of printable ASCII.
bool IsSafePath(std::string_view path);

// Of the repository's `files` those that a worker reads beside the weights: configuration,
// tokenizer, chat template, and the index of the weights.
std::vector<std::string> SmallFiles(const std::vector<std::string>& files);

// Without which nothing can be served.
const std::vector<std::string>& RequiredFiles();

// The files that hold the weights: those that the index in `folder` names, sorted, or without an
// index the one file. Fails: INVALID_ARGUMENT for an index that is none, or names no safe path.
absl::StatusOr<std::vector<std::string>> WeightFiles(const std::filesystem::path& folder);

}  // namespace thinkwire::worker::hub
