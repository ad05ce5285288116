#include "worker/text/gguf_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/gguf_file.h"
#include "common/input_limits.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"
#include "worker/text/gguf_text_rules.h"

namespace thinkwire::worker::text {
namespace {

constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kTypes[] = "tokenizer.ggml.token_type";
constexpr char kMerges[] = "tokenizer.ggml.merges";

constexpr auto kNormal = static_cast<std::int64_t>(GgufTokenType::kNormal);
constexpr auto kControl = static_cast<std::int64_t>(GgufTokenType::kControl);
constexpr auto kUserDefined = static_cast<std::int64_t>(GgufTokenType::kUserDefined);
constexpr auto kUnused = static_cast<std::int64_t>(GgufTokenType::kUnused);

absl::Status Damaged(std::string_view key, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(View(key), " ", View(what)));
}

std::string Element(std::string_view key, std::size_t index) {
  return absl::StrCat(View(key), "[", index, "]");
}

absl::StatusOr<std::string_view> Text(const GgufContent& content, std::string_view key) {
  const GgufValue* value = content.Find(key);
  const auto* text = value == nullptr ? nullptr : std::get_if<std::string_view>(value);
  if (text == nullptr) return Damaged(key, "is missing, or no string");
  return *text;
}

absl::StatusOr<GgufArray> Array(const GgufContent& content, std::string_view key,
                                std::uint64_t most) {
  const GgufValue* value = content.Find(key);
  const auto* array = value == nullptr ? nullptr : std::get_if<GgufArray>(value);
  if (array == nullptr) return Damaged(key, "is missing, or no array");
  if (array->count <= most) return *array;
  return Damaged(key, absl::StrCat("has ", array->count, " elements; at most ", most));
}

absl::StatusOr<std::vector<std::string_view>> Texts(const GgufContent& content,
                                                    std::string_view key, std::uint64_t most) {
  ASSIGN_OR_RETURN(const GgufArray array, Array(content, key, most));
  if (array.element != GgufType::kString) return Damaged(key, "is no array of strings");
  std::vector<std::string_view> texts = array.Strings();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!IsValidUtf8(texts[i])) return Damaged(Element(key, i), "is not UTF-8");
    if (texts[i].size() <= kMaxTokenBytes) continue;
    return Damaged(Element(key, i),
                   absl::StrCat("has ", texts[i].size(), " bytes; at most ", kMaxTokenBytes));
  }
  return texts;
}

absl::Status ReadPreTokenizer(const GgufContent& content, TokenizerJson& out) {
  ASSIGN_OR_RETURN(const std::string_view model, Text(content, "tokenizer.ggml.model"));
  if (model != "gpt2") {
    return absl::UnimplementedError(absl::StrCat("tokenizer.ggml.model \"", ShownText(model),
                                                 "\" is not supported; supported: gpt2"));
  }
  ASSIGN_OR_RETURN(const std::string_view pre, Text(content, "tokenizer.ggml.pre"));
  for (const GgufPreTokenizer& known : GgufPreTokenizers()) {
    if (known.name != pre) continue;
    out.nfc = known.nfc;
    out.ignore_merges = known.ignore_merges;
    out.split_patterns.assign(known.patterns.begin(), known.patterns.end());
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.ggml.pre \"", ShownText(pre),
                   "\" is not supported; supported: deepseek-r1-qwen, qwen2, llama-bpe, "
                   "deepseek-v3"));
}

// The id that `key` names; nothing where it is absent.
absl::StatusOr<std::optional<std::size_t>> NamedId(const GgufContent& content, const char* key,
                                                   std::size_t num_tokens) {
  const GgufValue* value = content.Find(key);
  if (value == nullptr) return std::nullopt;
  const auto* id = std::get_if<std::uint64_t>(value);
  if (id != nullptr && *id < num_tokens) return static_cast<std::size_t>(*id);
  return Damaged(key, absl::StrCat("is not an id below ", num_tokens));
}

// Tokens and their types, the named ones made control tokens.
class Vocabulary {
 public:
  absl::Status Read(const GgufContent& content) {
    ASSIGN_OR_RETURN(tokens_, Texts(content, kTokens, kMaxTokenIds));
    ASSIGN_OR_RETURN(const GgufArray types, Array(content, kTypes, kMaxTokenIds));
    if (!IsInteger(types.element) || types.count != tokens_.size()) {
      return Damaged(kTypes,
                     absl::StrCat("has no whole number for each of ", tokens_.size(), " tokens"));
    }
    types_ = types.Integers();
    return absl::OkStatus();
  }

  // The content of the token that `key` names.
  absl::StatusOr<std::optional<std::string>> Named(const GgufContent& content, const char* key) {
    ASSIGN_OR_RETURN(const auto id, NamedId(content, key, tokens_.size()));
    if (!id) return std::nullopt;
    if (types_[*id] == kNormal) types_[*id] = kControl;
    return std::string(tokens_[*id]);
  }

  absl::Status Write(TokenizerJson& out) const {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (types_[i] == kUnused) continue;
      const auto id = static_cast<std::int32_t>(i);
      const std::string token(tokens_[i]);
      out.vocabulary.emplace_back(token, id);
      if (types_[i] == kNormal) continue;
      if (types_[i] != kControl && types_[i] != kUserDefined) {
        return Damaged(Element(kTypes, i),
                       absl::StrCat("is ", types_[i], "; supported: 1, 3, 4, 5"));
      }
      if (token.empty()) return Damaged(Element(kTokens, i), "is empty, and no part of a text");
      AddedToken& added = out.added_tokens.emplace_back();
      added.content = token;
      added.id = id;
      added.special = types_[i] == kControl && !IsPlainInPublishedFiles(token);
    }
    return RefuseTwins();
  }

 private:
  absl::Status RefuseTwins() const {
    std::vector<std::pair<std::string_view, std::size_t>> sorted;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (types_[i] != kUnused) sorted.emplace_back(tokens_[i], i);
    }
    std::sort(sorted.begin(), sorted.end());
    const auto twin =
        std::adjacent_find(sorted.begin(), sorted.end(),
                           [](const auto& a, const auto& b) { return a.first == b.first; });
    if (twin == sorted.end()) return absl::OkStatus();
    return Damaged(Element(kTokens, std::next(twin)->second),
                   absl::StrCat("is \"", ShownText(twin->first), "\", as token ", twin->second,
                                " is already"));
  }

  std::vector<std::string_view> tokens_;
  std::vector<std::int64_t> types_;
};

absl::Status ReadMerges(const GgufContent& content, TokenizerJson& out) {
  ASSIGN_OR_RETURN(const auto merges, Texts(content, kMerges, kMaxMerges));
  out.merges.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::size_t space = merges[i].find(' ');
    if (space == std::string_view::npos || merges[i].find(' ', space + 1) != merges[i].npos) {
      return Damaged(Element(kMerges, i), "is not \"left right\"");
    }
    out.merges.emplace_back(merges[i].substr(0, space), merges[i].substr(space + 1));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerFiles> ParseGgufTokenizer(const GgufContent& content) {
  TokenizerFiles files;
  RETURN_IF_ERROR(ReadPreTokenizer(content, files.json));
  Vocabulary vocabulary;
  RETURN_IF_ERROR(vocabulary.Read(content));
  ASSIGN_OR_RETURN(files.bos_token, vocabulary.Named(content, "tokenizer.ggml.bos_token_id"));
  ASSIGN_OR_RETURN(files.eos_token, vocabulary.Named(content, "tokenizer.ggml.eos_token_id"));
  RETURN_IF_ERROR(vocabulary.Write(files.json));
  RETURN_IF_ERROR(ReadMerges(content, files.json));
  return files;
}

absl::StatusOr<TokenizerFiles> ReadGgufTokenizer(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  auto files = ParseGgufTokenizer(file.content());
  if (!files.ok()) return Annotate(files.status(), path.string());
  return files;
}

}  // namespace thinkwire::worker::text
