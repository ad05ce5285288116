#include "worker/pull_command.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/last_words.h"
#include "common/log.h"
#include "common/options.h"
#include "common/status.h"
#include "worker/hub/cache.h"
#include "worker/hub/model_name.h"
#include "worker/hub/pull.h"
#include "worker/hub/settings.h"
#include "worker/model_source.h"

namespace thinkwire::worker {
namespace {

constexpr char kProgram[] = "thinkwire-worker pull";

struct PullConfig {
  std::string name;
  std::string local_dir;
  std::int32_t connections = hub::DownloadOptions().connections;
  std::int64_t piece_bytes = hub::DownloadOptions().piece_bytes;
  std::string log_level = "info";
  bool help = false;
};

std::vector<Option> Options(PullConfig& config) {
  return {
      {"local_dir", &config.local_dir,
       "folder that gets the files themselves; empty: the hub's cache gets them"},
      {"connections", &config.connections, "to the hub at once; 0: one, and more if it is slow",
       Between(0, 64)},
      // Tests have small files.
      {"piece_bytes", &config.piece_bytes, nullptr, AtLeast(1)},
      {"log_level", &config.log_level, "what is logged: records of this level and above",
       OneOf(kLogLevels)},
      {"help", &config.help, "print this page"},
  };
}

absl::StatusOr<PullConfig> Parse(std::span<const char* const> arguments) {
  PullConfig config;
  ASSIGN_OR_RETURN(const auto rest, ParseOptions(arguments, Options(config)));
  if (config.help) return config;
  if (rest.size() != 1) {
    return absl::InvalidArgumentError("needs one name: pull NAME[@REVISION] (see pull --help)");
  }
  config.name = rest[0];
  return config;
}

std::string PullUsage() {
  PullConfig defaults;
  return absl::StrCat(
      "thinkwire-worker pull: downloads what a worker needs of a model, and prints its folder.\n\n"
      "  thinkwire-worker pull [--local_dir DIR] NAME[@REVISION]\n\n"
      "NAME is an id of the hub (deepseek-ai/DeepSeek-R1-Distill-Qwen-7B), a name of the family\n"
      "(qwen-7b) or its tag (deepseek-r1:7b); REVISION a branch, tag or commit.\n\n",
      DescribeOptions(Options(defaults)),
      "\nThe environment is huggingface_hub's: HF_HUB_CACHE, HF_HOME, HF_ENDPOINT, HF_TOKEN,\n"
      "HF_TOKEN_PATH, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT, https_proxy, no_proxy.\n");
}

// What is here, if it is whole.
absl::StatusOr<std::filesystem::path> Here(const hub::PullOptions& options) {
  ASSIGN_OR_RETURN(const hub::CachedModel model,
                   hub::HubCache(options.settings.cache).Find(options.name));
  if (model.missing.empty()) return model.folder;
  return absl::NotFoundError("not whole");
}

absl::StatusOr<std::filesystem::path> Pull(const PullConfig& config) {
  hub::PullOptions options;
  ASSIGN_OR_RETURN(options.name, hub::ParseModelName(config.name));
  ASSIGN_OR_RETURN(options.settings, hub::ReadHubSettings(ProcessEnvironment));
  options.local_dir = config.local_dir;
  options.download.connections = config.connections;
  options.download.piece_bytes = config.piece_bytes;
  auto folder = PullAndReport(options);
  const bool silent = absl::IsUnavailable(folder.status()) || options.settings.offline;
  if (folder.ok() || !silent || !config.local_dir.empty()) return folder;
  auto here = Here(options);
  if (!here.ok()) return folder;
  LogWarning("the hub was not asked", {{"why", std::string(folder.status().message())}});
  return here;
}

}  // namespace

int RunPull(std::span<const char* const> arguments) {
  const auto config = Parse(arguments);
  if (!config.ok()) return EndWith(kProgram, kExitConfig, config.status());
  if (config->help) {
    std::fputs(PullUsage().c_str(), stdout);
    return 0;
  }
  SetLogLevel(LogLevelByName(config->log_level));
  const auto folder = Pull(*config);
  if (!folder.ok()) return EndWith(kProgram, ExitCodeOf(folder.status()), folder.status());
  std::printf("%s\n", folder->c_str());
  return 0;
}

}  // namespace thinkwire::worker
