#include "worker/text/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"

namespace thinkwire::worker::text {
namespace {

using Json = nlohmann::json;

// A value as a message shows it: on one line, short.
std::string Shown(const Json& value) { return CutText(value.dump(), kMaxShownBytes); }

absl::Status Damaged(std::string_view key, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(View(key), " ", View(what)));
}

absl::Status Unsupported(std::string_view key, std::string_view what) {
  return absl::UnimplementedError(absl::StrCat(View(key), " ", View(what), " is not supported"));
}

// Of a step that SentencePiece's tokenizers have: loading the family's file as one of these and
// saving it again puts it there.
absl::Status Resaved(std::string_view key, std::string_view type) {
  return absl::UnimplementedError(absl::StrCat(
      View(key), " ", ShownText(type),
      " is not supported; a tokenizer class that is not the model's may have saved the "
      "file: take the original tokenizer.json"));
}

std::string Join(std::string_view parent, std::string_view key) {
  return parent.empty() ? std::string(key) : absl::StrCat(View(parent), ".", View(key));
}

std::string Join(std::string_view parent, std::size_t index) {
  return absl::StrCat(View(parent), "[", index, "]");
}

// Null for an absent member.
const Json& Member(const Json& object, std::string_view key) {
  static const Json kNull;
  const auto member = object.find(key);
  return member == object.end() ? kNull : *member;
}

bool IsEmptyString(const Json& value) {
  return value.is_string() && value.get_ref<const std::string&>().empty();
}

absl::StatusOr<bool> Flag(const Json& object, std::string_view parent, std::string_view key,
                          bool when_absent) {
  const Json& value = Member(object, key);
  if (value.is_null()) return when_absent;
  if (!value.is_boolean()) return Damaged(Join(parent, key), "is not true or false");
  return value.get<bool>();
}

// An option that must have the value that changes nothing.
absl::Status RequireFlag(const Json& object, std::string_view parent, std::string_view key,
                         bool when_absent, bool required) {
  ASSIGN_OR_RETURN(const bool value, Flag(object, parent, key, when_absent));
  if (value != required) return Unsupported(Join(parent, key), value ? "true" : "false");
  return absl::OkStatus();
}

absl::StatusOr<std::string> Type(const Json& object, std::string_view parent) {
  if (!object.is_object()) return Damaged(parent, "is not an object");
  const Json& type = Member(object, "type");
  if (!type.is_string()) return Damaged(Join(parent, "type"), "is not a string");
  return type.get<std::string>();
}

absl::StatusOr<const Json*> Array(const Json& object, std::string_view parent,
                                  std::string_view key) {
  const Json& value = Member(object, key);
  if (!value.is_array()) return Damaged(Join(parent, key), "is not an array");
  return &value;
}

absl::StatusOr<std::int32_t> Id(const Json& value, std::string_view key) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= kMaxTokenIds) {
    return Damaged(key, absl::StrCat("is not an id from 0 to ", kMaxTokenIds - 1));
  }
  return value.get<std::int32_t>();
}

absl::Status ParseNormalizer(const Json& normalizer, const std::string& key, TokenizerJson* out) {
  if (normalizer.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string type, Type(normalizer, key));
  if (type == "NFC") {
    out->nfc = true;
    return absl::OkStatus();
  }
  if (type != "Sequence") return Resaved(Join(key, "type"), type);
  ASSIGN_OR_RETURN(const Json* steps, Array(normalizer, key, "normalizers"));
  for (std::size_t i = 0; i < steps->size(); ++i) {
    // One level deep, so that nesting in the file is no depth of calls here.
    const std::string step_key = Join(Join(key, "normalizers"), i);
    ASSIGN_OR_RETURN(const std::string step_type, Type((*steps)[i], step_key));
    if (step_type != "NFC") return Resaved(Join(step_key, "type"), step_type);
    out->nfc = true;
  }
  return absl::OkStatus();
}

absl::Status ParseSplit(const Json& split, const std::string& key, TokenizerJson* out) {
  const Json& pattern = Member(split, "pattern");
  if (!pattern.is_object()) return Damaged(Join(key, "pattern"), "is not an object");
  const Json& regex = Member(pattern, "Regex");
  if (!regex.is_string()) return Unsupported(Join(key, "pattern"), "other than a Regex");
  const Json& behavior = Member(split, "behavior");
  if (behavior != "Isolated") return Unsupported(Join(key, "behavior"), Shown(behavior));
  RETURN_IF_ERROR(RequireFlag(split, key, "invert", false, false));
  out->split_patterns.push_back(regex.get<std::string>());
  if (const std::size_t bytes = out->split_patterns.back().size(); bytes > kMaxSplitPatternBytes) {
    return Damaged(Join(key, "pattern"),
                   absl::StrCat("has ", bytes, " bytes; at most ", kMaxSplitPatternBytes));
  }
  return absl::OkStatus();
}

absl::Status ParsePreTokenizer(const Json& pre_tokenizer, TokenizerJson* out) {
  const std::string key = "pre_tokenizer";
  if (pre_tokenizer.is_null()) return Unsupported(key, "null");
  ASSIGN_OR_RETURN(const std::string outer_type, Type(pre_tokenizer, key));
  Json steps = Json::array({pre_tokenizer});
  std::string steps_key = key;
  if (outer_type == "Sequence") {
    ASSIGN_OR_RETURN(const Json* inner, Array(pre_tokenizer, key, "pretokenizers"));
    steps = *inner;
    steps_key = Join(key, "pretokenizers");
  }
  bool byte_level = false;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::string step_key = outer_type == "Sequence" ? Join(steps_key, i) : steps_key;
    ASSIGN_OR_RETURN(const std::string type, Type(steps[i], step_key));
    if (byte_level) return Unsupported(step_key, "after ByteLevel");
    if (type == "Split") {
      RETURN_IF_ERROR(ParseSplit(steps[i], step_key, out));
    } else if (type == "ByteLevel") {
      RETURN_IF_ERROR(RequireFlag(steps[i], step_key, "add_prefix_space", true, false));
      RETURN_IF_ERROR(RequireFlag(steps[i], step_key, "use_regex", true, false));
      byte_level = true;
    } else {
      return Resaved(Join(step_key, "type"), type);
    }
  }
  if (!byte_level) return Unsupported(key, "without a ByteLevel step");
  // Each is a depth of calls where a text is cut.
  if (const std::size_t steps_of_split = out->split_patterns.size();
      steps_of_split > kMaxSplitPatterns) {
    return Damaged(
        key, absl::StrCat("has ", steps_of_split, " steps of Split; at most ", kMaxSplitPatterns));
  }
  return absl::OkStatus();
}

absl::Status CheckModelOptions(const Json& model, TokenizerJson* out) {
  constexpr std::array<std::string_view, 10> kKnown = {
      "type",     "dropout",       "unk_token",     "continuing_subword_prefix",
      "fuse_unk", "byte_fallback", "ignore_merges", "end_of_word_suffix",
      "vocab",    "merges"};
  for (const auto& [key, value] : model.items()) {
    if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) {
      return Unsupported(Join("model", ShownText(key)), "as an option");
    }
  }
  const Json& dropout = Member(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) return Unsupported("model.dropout", Shown(dropout));
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& affix = Member(model, key);
    if (!affix.is_null() && !IsEmptyString(affix))
      return Unsupported(Join("model", key), Shown(affix));
  }
  ASSIGN_OR_RETURN(out->byte_fallback, Flag(model, "model", "byte_fallback", false));
  ASSIGN_OR_RETURN(out->ignore_merges, Flag(model, "model", "ignore_merges", false));
  const Json& unk = Member(model, "unk_token");
  if (unk.is_string()) {
    out->unk_token = unk.get<std::string>();
  } else if (!unk.is_null()) {
    return Damaged("model.unk_token", "is not a string");
  }
  return absl::OkStatus();
}

absl::Status ParseVocabulary(const Json& model, JsonMembers& vocabulary, TokenizerJson* out) {
  if (!Member(model, "vocab").is_object()) return Damaged("model.vocab", "is not an object");
  out->vocabulary.reserve(vocabulary.members.size());
  for (auto& [spelling, value] : vocabulary.members) {
    absl::StatusOr<std::int32_t> id = Id(value, "its value");
    if (!id.ok())
      return Annotate(id.status(), absl::StrCat("model.vocab[\"", ShownText(spelling), "\"]"));
    out->vocabulary.emplace_back(std::move(spelling), *id);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::pair<std::string, std::string>> ParseMerge(const Json& merge,
                                                               std::size_t index) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (merge.is_string()) {
    const std::string& line = merge.get_ref<const std::string&>();
    const std::size_t space = line.find(' ');
    if (space != std::string::npos && line.find(' ', space + 1) == std::string::npos) {
      return std::pair(line.substr(0, space), line.substr(space + 1));
    }
  }
  return Damaged(Join("model.merges", index), "is neither \"left right\" nor a pair of strings");
}

absl::Status ParseMerges(const Json& model, TokenizerJson* out) {
  ASSIGN_OR_RETURN(const Json* merges, Array(model, "model", "merges"));
  if (merges->size() > kMaxMerges) {
    return Damaged("model.merges",
                   absl::StrCat("has ", merges->size(), " entries; at most ", kMaxMerges));
  }
  out->merges.reserve(merges->size());
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const Json& merge = (*merges)[i];
    // A heading of the old merges.txt, which some files carry along.
    if (merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version")) {
      continue;
    }
    ASSIGN_OR_RETURN(auto pair, ParseMerge(merge, i));
    out->merges.push_back(std::move(pair));
  }
  return absl::OkStatus();
}

absl::Status ParseModel(const Json& model, JsonMembers& vocabulary, TokenizerJson* out) {
  if (!model.is_object()) return Damaged("model", "is not an object");
  const Json& type = Member(model, "type");
  if (!type.is_null() && type != "BPE") return Unsupported("model.type", Shown(type));
  RETURN_IF_ERROR(CheckModelOptions(model, out));
  RETURN_IF_ERROR(ParseVocabulary(model, vocabulary, out));
  return ParseMerges(model, out);
}

absl::StatusOr<std::string> Content(const Json& content, const std::string& key) {
  if (!content.is_string() || IsEmptyString(content)) {
    return Damaged(key, "is not a string of at least one character");
  }
  const std::string& text = content.get_ref<const std::string&>();
  if (text.size() <= kMaxTokenBytes) return text;
  return Damaged(key, absl::StrCat("has ", text.size(), " bytes; at most ", kMaxTokenBytes));
}

// All but the id.
absl::StatusOr<AddedToken> ParseAddedToken(const Json& value, const std::string& key) {
  if (!value.is_object()) return Damaged(key, "is not an object");
  AddedToken token;
  ASSIGN_OR_RETURN(token.content, Content(Member(value, "content"), Join(key, "content")));
  ASSIGN_OR_RETURN(token.special, Flag(value, key, "special", false));
  ASSIGN_OR_RETURN(token.normalized, Flag(value, key, "normalized", !token.special));
  ASSIGN_OR_RETURN(token.lstrip, Flag(value, key, "lstrip", false));
  ASSIGN_OR_RETURN(token.rstrip, Flag(value, key, "rstrip", false));
  ASSIGN_OR_RETURN(token.single_word, Flag(value, key, "single_word", false));
  return token;
}

absl::Status ParseAddedTokens(const Json& root, TokenizerJson* out) {
  if (Member(root, "added_tokens").is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Json* tokens, Array(root, "", "added_tokens"));
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    const std::string key = Join("added_tokens", i);
    ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken((*tokens)[i], key));
    ASSIGN_OR_RETURN(token.id, Id(Member((*tokens)[i], "id"), Join(key, "id")));
    out->added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status CheckDecoder(const Json& decoder) {
  ASSIGN_OR_RETURN(const std::string type, Type(decoder, "decoder"));
  if (type != "ByteLevel") return Resaved("decoder.type", type);
  return absl::OkStatus();
}

// A token by its content, or an object with one and its flags.
absl::StatusOr<AddedToken> ParseNamedToken(const Json& value, const std::string& key) {
  AddedToken token;
  if (value.is_object()) {
    ASSIGN_OR_RETURN(token, ParseAddedToken(value, key));
    ASSIGN_OR_RETURN(token.normalized, Flag(value, key, "normalized", false));
  } else if (value.is_string()) {
    ASSIGN_OR_RETURN(token.content, Content(value, key));
  } else {
    return Damaged(key, "is neither a string nor has a content");
  }
  token.special = true;
  token.id = kPlaced;
  return token;
}

absl::Status ParseNamedTokens(const Json& root, TokenizerConfigJson* out) {
  for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                          "cls_token", "mask_token"}) {
    const Json& value = Member(root, key);
    if (value.is_null() || IsEmptyString(value)) continue;
    ASSIGN_OR_RETURN(AddedToken token, ParseNamedToken(value, key));
    out->named.push_back({key, std::move(token)});
  }
  const char* list = Member(root, "extra_special_tokens").empty() ? "additional_special_tokens"
                                                                  : "extra_special_tokens";
  for (const Json& value : Member(root, list)) {  // an array, or an object by name
    ASSIGN_OR_RETURN(AddedToken token, ParseNamedToken(value, list));
    out->named.push_back({list, std::move(token)});
  }
  return absl::OkStatus();
}

bool HasLowerId(const AddedToken& a, const AddedToken& b) { return a.id < b.id; }

absl::Status ParseAddedTokensDecoder(const Json& decoder, TokenizerConfigJson* out) {
  const std::string parent = "added_tokens_decoder";
  if (!decoder.is_object()) return Damaged(parent, "is not an object");
  std::vector<AddedToken>& tokens = out->added_tokens_decoder.emplace();
  for (const auto& [id, value] : decoder.items()) {
    const std::string key = Join(parent, ShownText(id));
    ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(value, key));
    if (!absl::SimpleAtoi(id, &token.id) || token.id < 0 || token.id >= kMaxTokenIds) {
      return Damaged(key, absl::StrCat("is not an id from 0 to ", kMaxTokenIds - 1));
    }
    tokens.push_back(std::move(token));
  }
  std::sort(tokens.begin(), tokens.end(), HasLowerId);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerJson> ParseTokenizerJson(const Json& root, JsonMembers vocabulary) {
  if (!root.is_object()) return absl::InvalidArgumentError("not a JSON object");
  TokenizerJson out;
  RETURN_IF_ERROR(ParseNormalizer(Member(root, "normalizer"), "normalizer", &out));
  RETURN_IF_ERROR(ParsePreTokenizer(Member(root, "pre_tokenizer"), &out));
  RETURN_IF_ERROR(CheckDecoder(Member(root, "decoder")));
  RETURN_IF_ERROR(ParseModel(Member(root, "model"), vocabulary, &out));
  RETURN_IF_ERROR(ParseAddedTokens(root, &out));
  return out;
}

absl::StatusOr<TokenizerConfigJson> ParseTokenizerConfigJson(const Json& root) {
  if (!root.is_object()) return absl::InvalidArgumentError("not a JSON object");
  TokenizerConfigJson out;
  RETURN_IF_ERROR(ParseNamedTokens(root, &out));
  const Json& decoder = Member(root, "added_tokens_decoder");
  if (!decoder.is_null()) RETURN_IF_ERROR(ParseAddedTokensDecoder(decoder, &out));
  return out;
}

const NamedToken* TokenizerConfigJson::Find(std::string_view name) const {
  const auto found = std::find_if(named.begin(), named.end(),
                                  [name](const NamedToken& token) { return token.name == name; });
  return found == named.end() ? nullptr : &*found;
}

absl::StatusOr<std::vector<AddedToken>> ParseAddedTokensJson(const Json& root) {
  if (!root.is_object()) return absl::InvalidArgumentError("not a JSON object");
  std::vector<AddedToken> tokens;
  for (const auto& [content, id] : root.items()) {
    AddedToken& token = tokens.emplace_back();
    ASSIGN_OR_RETURN(token.content, Content(content, ShownText(content)));
    ASSIGN_OR_RETURN(token.id, Id(id, ShownText(content)));
    token.normalized = true;
  }
  std::sort(tokens.begin(), tokens.end(), HasLowerId);
  return tokens;
}

}  // namespace thinkwire::worker::text
