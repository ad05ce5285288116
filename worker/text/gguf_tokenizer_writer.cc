#include "worker/text/gguf_tokenizer_writer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/text/gguf_text_rules.h"
#include "worker/text/known_templates.h"
#include "worker/text/tokenizer_files.h"

namespace thinkwire::worker::text {
namespace {

absl::Status CannotSay(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the tokenizer ", what, ", which a GGUF file cannot say"));
}

// Every row's token, with its type.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;

  explicit Vocabulary(std::int64_t num_rows)
      : types(static_cast<std::size_t>(num_rows),
              static_cast<std::int32_t>(GgufTokenType::kUnused)) {
    for (std::int64_t i = 0; i < num_rows; ++i) tokens.push_back(absl::StrCat("[PAD", i, "]"));
  }

  absl::Status Put(std::int64_t id, const std::string& token, GgufTokenType type) {
    if (id < 0 || id >= std::ssize(tokens)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the tokenizer's id ", id, " of \"", ShownText(token),
                       "\" has no row in the embedding, which has ", tokens.size()));
    }
    tokens[static_cast<std::size_t>(id)] = token;
    types[static_cast<std::size_t>(id)] = static_cast<std::int32_t>(type);
    return absl::OkStatus();
  }

  std::optional<std::uint32_t> IdOf(const std::string& token) const {
    const auto found = std::ranges::find(tokens, token);
    if (found == tokens.end()) return std::nullopt;
    return static_cast<std::uint32_t>(found - tokens.begin());
  }
};

absl::StatusOr<GgufTokenType> TypeOf(const AddedToken& token) {
  const bool looks_special = token.content.starts_with("<｜");
  if (token.lstrip || token.rstrip || token.single_word) {
    return CannotSay(
        absl::StrCat("has \"", ShownText(token.content), "\" with lstrip, rstrip or single_word"));
  }
  if (token.special) return GgufTokenType::kControl;
  return looks_special && IsPlainInPublishedFiles(token.content) ? GgufTokenType::kControl
                                                                 : GgufTokenType::kUserDefined;
}

// The id that the token gets when it is loaded: its own, the vocabulary's, or the next.
std::int64_t PlaceOf(const AddedToken& token, const Vocabulary& vocabulary, std::int64_t& next) {
  if (token.id != kPlaced) return token.id;
  const auto known = vocabulary.IdOf(token.content);
  return known ? std::int64_t{*known} : next++;
}

absl::StatusOr<Vocabulary> VocabularyOf(const TokenizerJson& json, std::int64_t num_rows) {
  Vocabulary vocabulary(num_rows);
  std::int64_t next = 0;
  for (const auto& [spelling, id] : json.vocabulary) {
    RETURN_IF_ERROR(vocabulary.Put(id, spelling, GgufTokenType::kNormal));
    next = std::max(next, std::int64_t{id} + 1);
  }
  for (const AddedToken& token : json.added_tokens)
    next = std::max(next, token.id + std::int64_t{1});
  for (const AddedToken& token : json.added_tokens) {
    ASSIGN_OR_RETURN(const GgufTokenType type, TypeOf(token));
    RETURN_IF_ERROR(vocabulary.Put(PlaceOf(token, vocabulary, next), token.content, type));
  }
  return vocabulary;
}

// The ends: the tokenizer's own first, which is one whatever the model says, then another.
absl::Status AddEnds(std::optional<std::uint32_t> own, std::span<const std::int32_t> of_model,
                     GgufHeader& header) {
  std::vector<std::uint32_t> ends;
  if (own) ends.push_back(*own);
  for (const std::int32_t id : of_model) {
    const auto end = static_cast<std::uint32_t>(id);
    if (std::ranges::find(ends, end) == ends.end()) ends.push_back(end);
  }
  if (ends.size() > 2) {
    return CannotSay(absl::StrCat("and the model have ", ends.size(), " ids that end an output, ",
                                  absl::StrJoin(ends, ", ")));
  }
  if (!ends.empty()) header.U32("tokenizer.ggml.eos_token_id", ends.front());
  if (ends.size() > 1) header.U32("tokenizer.ggml.eot_token_id", ends.back());
  return absl::OkStatus();
}

std::vector<std::string> MergesOf(const TokenizerJson& json) {
  std::vector<std::string> merges;
  merges.reserve(json.merges.size());
  for (const auto& [left, right] : json.merges) merges.push_back(absl::StrCat(left, " ", right));
  return merges;
}

}  // namespace

absl::Status AddGgufTokenizer(const std::filesystem::path& folder, const GgufTokenizerRows& rows,
                              GgufHeader& header) {
  ASSIGN_OR_RETURN(const TokenizerFiles files, ReadTokenizerFiles(folder));
  const GgufPreTokenizer* pre = GgufPreTokenizerOf(files.json);
  if (pre == nullptr) return CannotSay("splits texts as none of the family does");
  ASSIGN_OR_RETURN(const Vocabulary vocabulary, VocabularyOf(files.json, rows.num_rows));
  header.Text("tokenizer.ggml.model", "gpt2");
  header.Text("tokenizer.ggml.pre", pre->name);
  header.Texts("tokenizer.ggml.tokens", vocabulary.tokens);
  header.I32s("tokenizer.ggml.token_type", vocabulary.types);
  header.Texts("tokenizer.ggml.merges", MergesOf(files.json));
  const auto id_of = [&](const std::optional<std::string>& token) {
    return token ? vocabulary.IdOf(*token) : std::nullopt;
  };
  // As published: it goes before every text that does not begin with it.
  if (const auto bos = id_of(files.bos_token)) {
    header.U32("tokenizer.ggml.bos_token_id", *bos);
    header.Flag("tokenizer.ggml.add_bos_token", true);
  }
  RETURN_IF_ERROR(AddEnds(id_of(files.eos_token), rows.end_ids, header));
  ASSIGN_OR_RETURN(const auto chat_template, ReadChatTemplate(folder));
  if (chat_template) header.Text("tokenizer.chat_template", *chat_template);
  return absl::OkStatus();
}

}  // namespace thinkwire::worker::text
