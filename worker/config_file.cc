#include "worker/config_file.h"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstddef>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/shown_text.h"
#include "common/status.h"

namespace thinkwire::worker {
namespace {

constexpr std::size_t kMaxFileBytes = 64 << 10;
constexpr std::size_t kMaxMessageBytes = 512;

// "file:line: message", on one line and not long, whatever words of the file the message holds.
absl::Status Wrong(const std::string& source, const YAML::Mark& mark, const std::string& message) {
  return absl::InvalidArgumentError(absl::StrCat(source, ":", std::max(0, mark.line) + 1, ": ",
                                                 ShownLine(message, kMaxMessageBytes)));
}

bool IsOptionName(const std::string& name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  });
}

// `mark` is the key's: what is not there has none.
absl::StatusOr<std::string> Text(const std::string& source, const std::string& key,
                                 const YAML::Mark& mark, const YAML::Node& node) {
  if (node.IsScalar()) return node.Scalar();
  std::string out;
  for (std::size_t i = 0; node.IsSequence() && i < node.size(); ++i) {
    if (!node[i].IsScalar()) {
      return Wrong(source, mark, absl::StrCat(key, " must be a list of words"));
    }
    absl::StrAppend(&out, i == 0 ? "" : ",", node[i].Scalar());
  }
  if (node.IsSequence()) return out;
  return Wrong(source, mark,
               absl::StrCat(key, " must have a value: a word, a number, or a list of words"));
}

absl::StatusOr<std::vector<std::string>> Read(const std::string& source, const YAML::Node& root) {
  std::vector<std::string> arguments;
  if (root.IsNull()) return arguments;  // comments alone
  if (!root.IsMap()) {
    return Wrong(source, root.Mark(), "must be a map from options to their values");
  }
  std::set<std::string> seen;
  for (const auto& entry : root) {
    std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
    std::ranges::replace(key, '-', '_');
    if (!IsOptionName(key)) return Wrong(source, entry.first.Mark(), "a key is no option's name");
    if (key == "config" || key == "help" || key == "version") {
      return Wrong(source, entry.first.Mark(), absl::StrCat(key, " is for the command line alone"));
    }
    if (!seen.insert(key).second) {
      return Wrong(source, entry.first.Mark(), absl::StrCat("key '", key, "' twice"));
    }
    ASSIGN_OR_RETURN(const std::string value, Text(source, key, entry.first.Mark(), entry.second));
    arguments.push_back(absl::StrCat("--", key, "=", value));
  }
  return arguments;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseConfigFile(const std::string& yaml,
                                                         const std::string& source) {
  try {
    return Read(source, YAML::Load(yaml));
  } catch (const YAML::DeepRecursion& error) {
    return Wrong(source, error.mark, "nests too deep");
  } catch (const YAML::Exception& error) {
    return Wrong(source, error.mark, error.msg);
  }
}

absl::StatusOr<std::vector<std::string>> ReadConfigFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  return ParseConfigFile(text, path);
}

}  // namespace thinkwire::worker
