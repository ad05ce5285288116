#include "worker/hub/model_contents.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"

namespace thinkwire::worker::hub {
namespace {

constexpr std::size_t kMaxPathBytes = 200;

constexpr const char* kSmallFiles[] = {"added_tokens.json",
                                       "chat_template.jinja",
                                       "config.json",
                                       "generation_config.json",
                                       "special_tokens_map.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       kIndexFile};

absl::Status BadIndex(const std::filesystem::path& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", what));
}

}  // namespace

bool IsSafePath(std::string_view path) {
  const auto printable = [](char c) {
    return absl::ascii_isprint(static_cast<unsigned char>(c)) && c != '\\';
  };
  if (path.empty() || path.size() > kMaxPathBytes || !std::ranges::all_of(path, printable)) {
    return false;
  }
  const std::filesystem::path parts(path);
  return parts.is_relative() && parts.has_filename() &&
         std::ranges::none_of(
             parts, [](const std::filesystem::path& part) { return part == ".." || part == "."; });
}

std::vector<std::string> SmallFiles(const std::vector<std::string>& files) {
  std::vector<std::string> out;
  for (const std::string& file : files) {
    if (std::ranges::find(kSmallFiles, file) != std::end(kSmallFiles)) out.push_back(file);
  }
  return out;
}

const std::vector<std::string>& RequiredFiles() {
  static const auto& files = *new std::vector<std::string>{"config.json", "tokenizer.json"};
  return files;
}

absl::StatusOr<std::vector<std::string>> WeightFiles(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kIndexFile;
  std::error_code unreadable;
  if (!std::filesystem::exists(path, unreadable)) return std::vector<std::string>{kWeightsFile};
  ASSIGN_OR_RETURN(const nlohmann::json index, ReadJsonFile(path));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty()) {
    return BadIndex(path, "has no weight_map");
  }
  std::set<std::string> files;
  for (const auto& entry : *map) {
    if (!entry.is_string()) return BadIndex(path, "weight_map names a file by no text");
    if (!IsSafePath(entry.get_ref<const std::string&>())) {
      return BadIndex(path, absl::StrCat("weight_map names '", ShownText(entry.get<std::string>()),
                                         "', which may be no path here"));
    }
    files.insert(entry.get<std::string>());
  }
  return std::vector<std::string>(files.begin(), files.end());
}

}  // namespace thinkwire::worker::hub
