#include "common/json.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"

namespace thinkwire {
namespace {

using Json = nlohmann::json;

// Why the parser stopped, without what nlohmann says around it: its own error number, line and
// column, and the last token, which can be as long as the text.
std::string Reason(std::string_view what) {
  constexpr std::string_view kSyntax = "syntax error ";
  if (const auto begin = what.find("] "); begin != what.npos) what.remove_prefix(begin + 2);
  if (const auto begin = what.find(kSyntax); begin != what.npos) what.remove_prefix(begin);
  return CutText(what.substr(0, what.find("; last read")), kMaxShownBytes);
}

// Builds a document from the parser's events, each of which returns false to stop it. The names of
// the functions are nlohmann's.
class DocumentBuilder {
 public:
  DocumentBuilder(const JsonLimits& limits, JsonMembers* apart)
      : max_depth_(static_cast<std::size_t>(limits.max_depth)),
        max_values_(limits.max_values),
        apart_(apart) {}

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
    if (apart_ != nullptr) {
      if (open_.back() == apart_object_) {
        member_ = &apart_->members.emplace_back(name, nullptr).second;
        return true;
      }
      key_ = name;
    }
    const auto [entry, is_new] =
        open_.back()->get_ref<Json::object_t&>().try_emplace(name, nullptr);
    if (is_new) {
      member_ = &entry->second;
      return true;
    }
    return RefuseSecond(name);
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
    if (!Count()) return false;
    *Place() = std::forward<Value>(value);
    return true;
  }

  bool Open(Json::value_t type) {
    if (open_.size() == max_depth_) {
      return Refuse(absl::StrCat("nests deeper than ", max_depth_, " levels"));
    }
    if (!Count()) return false;
    Json* place = Place();
    *place = type;
    if (IsApart(type)) apart_object_ = place;
    open_.push_back(place);
    return true;
  }

  // Whether what opens here is what apart_ names.
  bool IsApart(Json::value_t type) const {
    if (apart_ == nullptr || type != Json::value_t::object || open_.size() != 2) return false;
    if (!open_.back()->is_object() || !root_.is_object()) return false;
    const auto parent = root_.find(apart_->parent);
    return key_ == apart_->name && parent != root_.end() && &*parent == open_.back();
  }

  // One value more.
  bool Count() {
    if (++num_values_ <= max_values_) return true;
    return Refuse(absl::StrCat("holds more than ", max_values_, " values"));
  }

  bool Close() {
    if (open_.back() == apart_object_ && !CheckApart()) return false;
    open_.pop_back();
    return true;
  }

  bool CheckApart() {
    absl::flat_hash_set<std::string_view> names;
    names.reserve(apart_->members.size());
    for (const auto& [name, value] : apart_->members) {
      if (!names.insert(name).second) return RefuseSecond(name);
    }
    return true;
  }

  bool RefuseSecond(std::string_view name) {
    const std::string path = CutText(Path(), kMaxShownBytes);
    return Refuse(absl::StrCat("key \"", ShownText(name), "\" appears twice",
                               path.empty() ? "" : absl::StrCat(" in ", path)));
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
        if (&value == open_[i]) absl::StrAppend(&path, path.empty() ? "" : ".", ShownText(name));
      }
    }
    return path;
  }

  bool Refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  const std::size_t max_depth_;
  const std::size_t max_values_;
  JsonMembers* const apart_;  // may be null
  std::size_t num_values_ = 0;
  Json root_;
  std::vector<Json*> open_;             // containers, outermost first
  Json* member_ = nullptr;              // the value of the key that was read last
  std::string key_;                     // that key, where it is needed: outside of apart_object_
  const Json* apart_object_ = nullptr;  // what apart_ names, once it was opened
  std::string problem_;
};

absl::Status Invalid(std::string_view name, std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(View(name), ": ", View(problem)));
}

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view name,
                               const JsonLimits& limits, JsonMembers* apart) {
  if (text.size() > limits.max_bytes) {
    return Invalid(name,
                   absl::StrCat(text.size(), " bytes; at most ", limits.max_bytes, " are read"));
  }
  DocumentBuilder builder(limits, apart);
  if (!Json::sax_parse(text, &builder)) return Invalid(name, builder.problem());
  return builder.Take();
}

absl::StatusOr<Json> ReadJsonFile(const std::filesystem::path& path, const JsonLimits& limits,
                                  JsonMembers* apart) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limits.max_bytes));
  if (IsLfsPointer(text)) return Invalid(path.string(), kLfsPointerProblem);
  return ParseJson(text, path.string(), limits, apart);
}

}  // namespace thinkwire
