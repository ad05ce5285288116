#include "worker/text/tokenizer_files.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "worker/text/byte_level.h"

namespace thinkwire::worker::text {
namespace {

constexpr char kDecoder[] = "added_tokens_decoder";

template <class Parsed>
using Parser = absl::StatusOr<Parsed> (*)(const nlohmann::json& root);

// The parsed file, its name before every error; nothing if it is not there.
template <class Parsed>
absl::StatusOr<Parsed> ReadIfThere(const std::filesystem::path& path, Parser<Parsed> parse) {
  const auto root = ReadJsonFile(path, {.max_bytes = kMaxTokenizerConfigBytes});
  if (absl::IsNotFound(root.status())) return Parsed();
  if (!root.ok()) return root.status();
  auto parsed = parse(*root);
  if (!parsed.ok()) return Annotate(parsed.status(), path.string());
  return parsed;
}

absl::StatusOr<TokenizerJson> ReadTokenizerJson(const std::filesystem::path& path) {
  JsonMembers vocabulary = {.parent = "model", .name = "vocab", .members = {}};
  ASSIGN_OR_RETURN(const nlohmann::json root,
                   ReadJsonFile(path, {.max_bytes = kMaxTokenizerBytes}, &vocabulary));
  auto parsed = ParseTokenizerJson(root, std::move(vocabulary));
  if (!parsed.ok()) return Annotate(parsed.status(), path.string());
  return parsed;
}

std::string Quoted(std::string_view content) {
  return absl::StrCat("\"", ShownText(content), "\"");
}

bool HaveSameOptions(const AddedToken& a, const AddedToken& b) {
  return a.special == b.special && a.normalized == b.normalized && a.lstrip == b.lstrip &&
         a.rstrip == b.rstrip && a.single_word == b.single_word;
}

bool IsOneByte(std::string_view spelling) {
  const std::optional<std::string> bytes = BytesFromSpelling(spelling);
  return bytes.has_value() && bytes->size() == 1;
}

// Puts the files of one folder together.
class Merger {
 public:
  explicit Merger(const std::filesystem::path& folder) : folder_(folder) {}

  absl::StatusOr<TokenizerFiles> Merge() {
    ASSIGN_OR_RETURN(out_.json, ReadTokenizerJson(folder_ / "tokenizer.json"));
    for (std::size_t i = 0; i < out_.json.added_tokens.size(); ++i) {
      places_.emplace(out_.json.added_tokens[i].content, i);
    }
    ASSIGN_OR_RETURN(config_,
                     ReadIfThere(folder_ / "tokenizer_config.json", ParseTokenizerConfigJson));
    ASSIGN_OR_RETURN(const TokenizerConfigJson map,
                     ReadIfThere(folder_ / "special_tokens_map.json", ParseTokenizerConfigJson));
    ASSIGN_OR_RETURN(std::vector<AddedToken> legacy,
                     ReadIfThere(folder_ / "added_tokens.json", ParseAddedTokensJson));
    if (config_.added_tokens_decoder.has_value()) {
      TakeDecoder(*config_.added_tokens_decoder);
      WarnOfUnreadTokens(legacy);
      WarnOfUnreadMap(map);
    } else {
      TakeMap(map);
      TakeLegacy(std::move(legacy));
    }
    RETURN_IF_ERROR(TakeNamed());
    return std::move(out_);
  }

 private:
  AddedToken* Find(std::string_view content) {
    const auto place = places_.find(content);
    return place == places_.end() ? nullptr : &out_.json.added_tokens[place->second];
  }

  void Add(AddedToken token) {
    places_.emplace(token.content, out_.json.added_tokens.size());
    out_.json.added_tokens.push_back(std::move(token));
  }

  bool IsInVocabulary(std::string_view content) {
    if (vocabulary_.empty()) {
      for (const auto& [spelling, id] : out_.json.vocabulary) vocabulary_.insert(spelling);
    }
    return vocabulary_.contains(content);
  }

  void Warn(std::string_view file, std::string_view what) {
    out_.warnings.push_back(absl::StrCat((folder_ / file).string(), ": ", View(what)));
  }

  void WarnOfAdded(std::string_view file, const std::vector<std::string>& added) {
    if (added.empty()) return;
    Warn(file, ShownText(absl::StrCat("adds ", added.size(), " tokens that tokenizer.json lacks: ",
                                      absl::StrJoin(added, ", "))));
  }

  void TakeDecoder(const std::vector<AddedToken>& decoder) {
    std::vector<std::string> added;
    std::vector<std::string> changed;
    for (const AddedToken& token : decoder) {
      AddedToken* own = Find(token.content);
      if (own == nullptr) {
        Add(token);
        added.push_back(token.content);
      } else if (!HaveSameOptions(*own, token)) {
        changed.push_back(token.content);
        const std::int32_t id = own->id;
        *own = token;
        own->id = id;
      }
    }
    WarnOfAdded("tokenizer_config.json", added);
    if (changed.empty()) return;
    Warn("tokenizer_config.json",
         ShownText(absl::StrCat(kDecoder, " is obeyed, options in tokenizer.json are not, for ",
                                absl::StrJoin(changed, ", "))));
  }

  void WarnOfUnreadTokens(const std::vector<AddedToken>& legacy) {
    for (const AddedToken& token : legacy) {
      if (Find(token.content) != nullptr) continue;
      return Warn("added_tokens.json",
                  absl::StrCat("is not obeyed, as tokenizer_config.json has ", kDecoder,
                               ", which lacks ", Quoted(token.content)));
    }
  }

  void WarnOfUnreadMap(const TokenizerConfigJson& map) {
    for (const NamedToken& named : map.named) {
      const NamedToken* known = config_.Find(named.name);
      if (known == nullptr || known->token.content == named.token.content) continue;
      Warn("special_tokens_map.json",
           absl::StrCat(named.name, " ", Quoted(named.token.content),
                        " is not obeyed, that of tokenizer_config.json is, ",
                        Quoted(known->token.content)));
    }
  }

  void TakeMap(const TokenizerConfigJson& map) {
    for (const NamedToken& named : map.named) {
      const auto known =
          std::find_if(config_.named.begin(), config_.named.end(),
                       [&named](const NamedToken& other) { return other.name == named.name; });
      if (known == config_.named.end() || IsList(named.name)) {
        config_.named.push_back(named);
        continue;
      }
      if (known->token.content != named.token.content) {
        Warn("special_tokens_map.json",
             absl::StrCat(named.name, " ", Quoted(named.token.content),
                          " is obeyed, that of tokenizer_config.json is not, ",
                          Quoted(known->token.content)));
      }
      *known = named;
    }
  }

  static bool IsList(std::string_view name) { return name.ends_with("_special_tokens"); }

  void TakeLegacy(std::vector<AddedToken> legacy) {
    std::vector<std::string> added;
    for (AddedToken& token : legacy) {
      if (Find(token.content) != nullptr) continue;
      token.special = std::any_of(
          config_.named.begin(), config_.named.end(),
          [&token](const NamedToken& named) { return named.token.content == token.content; });
      token.normalized = !token.special;
      added.push_back(token.content);
      Add(std::move(token));
    }
    WarnOfAdded("added_tokens.json", added);
  }

  // Named tokens that no list has, and the contents of bos and eos.
  absl::Status TakeNamed() {
    std::vector<std::string> added;
    for (const auto& [name, token] : config_.named) {
      if (name == "bos_token") out_.bos_token = token.content;
      if (name == "eos_token") out_.eos_token = token.content;
      AddedToken* own = Find(token.content);
      if (own != nullptr) {
        own->special = own->special || !IsList(name);
        continue;
      }
      const bool is_known = IsInVocabulary(token.content);
      const bool is_control = name == "bos_token" || name == "eos_token";
      if (!is_known && is_control) return RefuseUnknown(name, token.content);
      if (is_known && IsOneByte(token.content)) {
        Warn("tokenizer_config.json", absl::StrCat(name, " ", Quoted(token.content),
                                                   " is the only entry for a byte and stays text"));
        continue;
      }
      Add(token);
      added.push_back(token.content);
    }
    WarnOfAdded("tokenizer_config.json", added);
    return absl::OkStatus();
  }

  absl::Status RefuseUnknown(std::string_view name, std::string_view content) const {
    return absl::InvalidArgumentError(absl::StrCat((folder_ / "tokenizer_config.json").string(),
                                                   ": ", View(name), " ", Quoted(content),
                                                   " is not among the tokens of tokenizer.json"));
  }

  const std::filesystem::path folder_;
  TokenizerConfigJson config_;
  TokenizerFiles out_;
  absl::flat_hash_map<std::string, std::size_t, StringHash, std::equal_to<>> places_;  // by content
  absl::flat_hash_set<std::string_view> vocabulary_;  // spellings, once they are asked for
};

}  // namespace

absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& model_dir) {
  return Merger(model_dir).Merge();
}

}  // namespace thinkwire::worker::text
