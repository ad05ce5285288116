#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "absl/status/status.h"

namespace thinkwire::bench {

// Makes `folder` one that thinkwire-worker serves with --random_weights: config.json of the distill
// `name`, and the tokenizer of the model folder `tokenizer`, stretched by ids without use to the
// distill's vocabulary, so that as many ids are drawn from as the real model has.
// Fails: INVALID_ARGUMENT or NOT_FOUND, naming the distill or the file.
absl::Status WriteModelFolder(std::string_view name, const std::filesystem::path& tokenizer,
                              const std::filesystem::path& folder);

// `thinkwire-bench folder`: the same from a command line. The process's exit code: 0, 1 what failed
// in one line on stderr, 78 a wrong option.
int RunFolderCommand(std::span<const char* const> arguments);

}  // namespace thinkwire::bench
