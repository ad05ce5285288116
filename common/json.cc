#include "common/json.h"

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/strings.h"
#include "common/utf8.h"

namespace thinkwire {
namespace {

using Json = nlohmann::json;

// Of what a message repeats from the text.
constexpr std::size_t kMaxShownBytes = 120;

std::string Cut(std::string_view text) { return CutText(text, kMaxShownBytes); }

// A key as a message shows it: printable, and cut where it is long.
std::string Shown(const std::string& key) { return absl::Utf8SafeCEscape(Cut(key)); }

// Why the parser stopped, without what nlohmann says around it: its own error number, line and
// column, and the last token, which can be as long as the text.
std::string Reason(std::string_view what) {
  constexpr std::string_view kSyntax = "syntax error ";
  if (const auto begin = what.find("] "); begin != what.npos) what.remove_prefix(begin + 2);
  if (const auto begin = what.find(kSyntax); begin != what.npos) what.remove_prefix(begin);
  return Cut(what.substr(0, what.find("; last read")));
}

// Builds a document from the parser's events, each of which returns false to stop it. The names of
// the functions are nlohmann's.
class DocumentBuilder {
 public:
  explicit DocumentBuilder(int max_depth) : max_depth_(static_cast<std::size_t>(max_depth)) {}

  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(Json::number_integer_t value) { return Add(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return Add(value); }
  bool number_float(Json::number_float_t value, const std::string& /*text*/) { return Add(value); }
  bool string(const std::string& value) { return Add(value); }
  bool binary(const Json::binary_t& value) { return Add(value); }
  bool start_object(std::size_t /*size*/) { return Open(Json::value_t::object); }
  bool start_array(std::size_t /*size*/) { return Open(Json::value_t::array); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }

  // Makes the place for the value that follows.
  bool key(const std::string& name) {
    const auto [entry, is_new] =
        open_.back()->get_ref<Json::object_t&>().try_emplace(name, nullptr);
    if (is_new) {
      member_ = &entry->second;
      return true;
    }
    const std::string path = Cut(Path());
    return Refuse(absl::StrCat("key \"", Shown(name), "\" appears twice",
                               path.empty() ? "" : absl::StrCat(" in ", path)));
  }

  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const Json::exception& error) {
    return Refuse(absl::StrCat("not valid JSON at byte ", position, ": ", Reason(error.what())));
  }

  // What was refused; empty: nothing.
  const std::string& problem() const { return problem_; }
  Json Take() { return std::move(root_); }

 private:
  template <class Value>
  bool Add(Value&& value) {
    *Place() = std::forward<Value>(value);
    return true;
  }

  bool Open(Json::value_t type) {
    if (open_.size() == max_depth_) {
      return Refuse(absl::StrCat("nests deeper than ", max_depth_, " levels"));
    }
    Json* place = Place();
    *place = type;
    open_.push_back(place);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  // Where the next value goes. The places in open_ stay where they are: nothing is added to a
  // container while one inside it is open.
  Json* Place() {
    if (open_.empty()) return &root_;
    if (open_.back()->is_object()) return member_;
    return &open_.back()->get_ref<Json::array_t&>().emplace_back();
  }

  // Of the innermost open container: "model.vocab", "added_tokens[3]"; empty for the document.
  std::string Path() const {
    std::string path;
    for (std::size_t i = 1; i < open_.size(); ++i) {
      const Json& parent = *open_[i - 1];
      if (parent.is_array()) {
        absl::StrAppend(&path, "[", parent.size() - 1, "]");
        continue;
      }
      for (const auto& [name, value] : parent.items()) {
        if (&value == open_[i]) absl::StrAppend(&path, path.empty() ? "" : ".", Shown(name));
      }
    }
    return path;
  }

  bool Refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  const std::size_t max_depth_;
  Json root_;
  std::vector<Json*> open_;  // containers, outermost first
  Json* member_ = nullptr;   // the value of the key that was read last
  std::string problem_;
};

absl::Status Invalid(std::string_view name, std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(View(name), ": ", View(problem)));
}

absl::Status TooLong(std::string_view name, std::uintmax_t bytes, const JsonLimits& limits) {
  return Invalid(name, absl::StrCat(bytes, " bytes; at most ", limits.max_bytes, " are read"));
}

absl::Status CannotBeRead(std::string_view name, const std::error_code& error) {
  return Invalid(name, absl::StrCat("cannot be read: ", error.message()));
}

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view name,
                               const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) return TooLong(name, text.size(), limits);
  DocumentBuilder builder(limits.max_depth);
  if (!Json::sax_parse(text, &builder)) return Invalid(name, builder.problem());
  return builder.Take();
}

absl::StatusOr<Json> ReadJsonFile(const std::filesystem::path& path, const JsonLimits& limits) {
  const std::string name = path.string();
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(name, ": no such file"));
  }
  if (error) return CannotBeRead(name, error);
  if (!std::filesystem::is_regular_file(status)) return Invalid(name, "not a regular file");
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return CannotBeRead(name, error);
  if (size > limits.max_bytes) return TooLong(name, size, limits);
  std::string text(size, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) {
    return Invalid(name, "cannot be read");
  }
  return ParseJson(text, name, limits);
}

}  // namespace thinkwire
