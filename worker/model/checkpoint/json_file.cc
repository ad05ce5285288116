#include "worker/model/checkpoint/json_file.h"

#include <fstream>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 16;

// Looks at each event of a parse and remembers the first thing that we refuse though JSON does not.
class StrictEvents {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
        keys_.emplace_back();
        break;
      case json::parse_event_t::object_end:
        keys_.pop_back();
        break;
      case json::parse_event_t::key:
        NoteKey(parsed.get_ref<const std::string&>());
        break;
      default:
        break;
    }
    if (depth > kMaxDepth && problem_.empty()) {
      problem_ = absl::StrCat("nests deeper than ", kMaxDepth, " levels");
    }
    return true;
  }

  const std::string& problem() const { return problem_; }

 private:
  void NoteKey(const std::string& key) {
    if (!keys_.back().insert(key).second && problem_.empty()) {
      problem_ = absl::StrCat("key \"", absl::Utf8SafeCEscape(key), "\" appears twice");
    }
  }

  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

}  // namespace

absl::StatusOr<json> ParseJson(absl::string_view text, absl::string_view name) {
  StrictEvents events;
  auto callback = [&events](int depth, json::parse_event_t event, json& parsed) {
    return events(depth, event, parsed);
  };
  json document = json::parse(text, callback, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": not valid JSON"));
  }
  if (!events.problem().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", events.problem()));
  }
  return document;
}

absl::StatusOr<json> ReadJsonFile(const std::filesystem::path& path, std::size_t max_bytes) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(path.string(), ": no such file"));
  }
  if (!std::filesystem::is_regular_file(status)) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": not a regular file"));
  }
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", error ? 0 : size,
                                                   " bytes; at most ", max_bytes, " are read"));
  }
  std::string text(size, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": cannot be read"));
  }
  return ParseJson(text, path.string());
}

}  // namespace thinkwire::worker::model
