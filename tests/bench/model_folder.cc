#include "tests/bench/model_folder.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/options.h"
#include "common/status.h"
#include "nlohmann/json.hpp"
#include "tests/bench/distill_shapes.h"
#include "tests/bench/environment.h"
#include "tests/bench/text_file.h"

namespace thinkwire::bench {
namespace {

using nlohmann::json;

constexpr int kExitFailure = 1;
constexpr int kExitConfig = 78;  // EX_CONFIG

// Puts every id below `vocab_size` into the vocabulary. Added tokens go in too: there they keep
// their ids, whatever else there is.
void Stretch(std::int64_t vocab_size, json& tokenizer) {
  json& vocabulary = tokenizer.at("model").at("vocab");
  for (const json& token : tokenizer.at("added_tokens")) {
    vocabulary[token.at("content").get<std::string>()] = token.at("id");
  }
  for (auto id = static_cast<std::int64_t>(vocabulary.size()); id < vocab_size; ++id) {
    vocabulary[absl::StrCat("<|unused_", id, "|>")] = id;
  }
}

absl::Status WriteTokenizer(const std::filesystem::path& from, std::int64_t vocab_size,
                            const std::filesystem::path& to) {
  ASSIGN_OR_RETURN(json tokenizer, ReadJsonFile(from, {.max_bytes = kMaxTokenizerBytes}));
  try {
    Stretch(vocab_size, tokenizer);
    return WriteTextFile(to.string(), tokenizer.dump());
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(from.string(), " is no tokenizer: ", error.what()));
  }
}

}  // namespace

absl::Status WriteModelFolder(std::string_view name, const std::filesystem::path& tokenizer,
                              const std::filesystem::path& folder) {
  const std::string config = DistillConfig(name);
  if (config.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("there is no model '", std::string(name),
                                                   "'; there are ",
                                                   absl::StrJoin(DistillNames(), ", ")));
  }
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  RETURN_IF_ERROR(WriteTextFile((folder / "config.json").string(), config));
  const auto vocab_size = json::parse(config)["vocab_size"].get<std::int64_t>();
  RETURN_IF_ERROR(
      WriteTokenizer(tokenizer / "tokenizer.json", vocab_size, folder / "tokenizer.json"));
  std::filesystem::copy_file(tokenizer / "tokenizer_config.json", folder / "tokenizer_config.json",
                             std::filesystem::copy_options::overwrite_existing, error);
  if (!error) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(
      "cannot copy ", (tokenizer / "tokenizer_config.json").string(), ": ", error.message()));
}

int RunFolderCommand(std::span<const char* const> arguments) {
  std::string name;
  std::string tokenizer = "deploy/models/tiny-r1";
  std::string out;
  bool help = false;
  const std::vector<Option> options = {
      {"model", &name, "a distill's name"},
      {"tokenizer", &tokenizer, "model folder whose tokenizer is taken"},
      {"out", &out, "the folder to make"},
      {"help", &help, "print this"},
  };
  const auto fail = [](int code, const absl::Status& status) {
    std::fprintf(stderr, "thinkwire-bench: %s\n", std::string(status.message()).c_str());
    return code;
  };
  const std::string usage = absl::StrCat(
      "thinkwire-bench folder: a model folder in a distill's shape, for thinkwire-worker "
      "--random_weights\n\n",
      DescribeOptions(options), "\nDistills: ", absl::StrJoin(DistillNames(), ", "), "\n");
  const auto rest = ParseOptions(arguments, options, kEnvironment);
  if (!rest.ok()) return fail(kExitConfig, rest.status());
  if (help) {
    std::fputs(usage.c_str(), stdout);
    return 0;
  }
  if (!rest->empty()) {
    return fail(kExitConfig,
                absl::InvalidArgumentError(absl::StrCat("'", rest->front(), "' is no option")));
  }
  if (name.empty() || out.empty()) {
    return fail(kExitConfig, absl::InvalidArgumentError("--model and --out are needed"));
  }
  const absl::Status status = WriteModelFolder(name, tokenizer, out);
  return status.ok() ? 0 : fail(kExitFailure, status);
}

}  // namespace thinkwire::bench
