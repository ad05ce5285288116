#include "worker/text/tokenizer_parts.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/text/byte_level.h"
#include "worker/text/nfc.h"

namespace thinkwire::worker::text {
namespace {

// The published spellings: the bar is U+FF5C, the joiner U+2581.
constexpr std::string_view kBos = "<｜begin▁of▁sentence｜>";
constexpr std::string_view kEos = "<｜end▁of▁sentence｜>";
constexpr std::string_view kUser = "<｜User｜>";
constexpr std::string_view kAssistant = "<｜Assistant｜>";
constexpr std::string_view kThinkBegin = "<think>";
constexpr std::string_view kThinkEnd = "</think>";
constexpr std::string_view kToolOutputsEnd = "<｜tool▁outputs▁end｜>";

constexpr bool OccursInUtf8(int byte) { return byte != 0xC0 && byte != 0xC1 && byte < 0xF5; }

absl::StatusOr<TokenMerge> FindMerge(const std::pair<std::string, std::string>& spellings,
                                     std::size_t rank, const IdsBySpelling& ids) {
  const auto& [left, right] = spellings;
  const std::string merged = left + right;
  const std::array<std::string_view, 3> needed = {left, right, merged};
  std::array<std::int32_t, 3> found;
  for (std::size_t i = 0; i < needed.size(); ++i) {
    const auto entry = ids.find(needed[i]);
    if (entry == ids.end() || needed[i].empty()) {
      return absl::InvalidArgumentError(absl::StrCat("model.merges[", rank, "] needs \"",
                                                     ShownText(needed[i]),
                                                     "\", which model.vocab does not have"));
    }
    found[i] = entry->second;
  }
  return TokenMerge{found[0], found[1], static_cast<std::int32_t>(rank), found[2]};
}

absl::Status IdIsTaken(std::string_view name, std::int32_t id) {
  return absl::InvalidArgumentError(
      absl::StrCat(View(name), " has id ", id, ", which another token has already"));
}

}  // namespace

absl::Status Tokenizer::Parts::Build(const TokenizerJson& json) {
  nfc = json.nfc;
  absl::StatusOr<Splitter> made = Splitter::Create(json.split_patterns);
  if (!made.ok()) return Annotate(made.status(), "pre_tokenizer");
  splitter.emplace(*std::move(made));
  IdsBySpelling ids;
  RETURN_IF_ERROR(BuildVocabulary(json, &ids));
  RETURN_IF_ERROR(BuildAddedTokens(json, ids));
  RETURN_IF_ERROR(BuildMerges(json, ids));
  RETURN_IF_ERROR(CheckBytes(json));
  BuildPieces(json);
  caches.emplace(json.vocabulary.size());
  return absl::OkStatus();
}

bool Tokenizer::Parts::DefineToken(std::int32_t id, std::string bytes) {
  if (static_cast<std::size_t>(id) >= tokens.size()) tokens.resize(id + 1);
  if (tokens[id].defined) return false;
  tokens[id].bytes = std::move(bytes);
  tokens[id].defined = true;
  return true;
}

absl::Status Tokenizer::Parts::BuildVocabulary(const TokenizerJson& json, IdsBySpelling* ids) {
  ids->reserve(json.vocabulary.size());
  tokens.reserve(json.vocabulary.size() + json.added_tokens.size());
  for (const auto& [spelling, id] : json.vocabulary) {
    std::optional<std::string> bytes = BytesFromSpelling(spelling);
    if (bytes.has_value() && bytes->size() == 1)
      encoder.SetByteId(static_cast<std::uint8_t>(bytes->front()), id);
    if (!DefineToken(id, bytes.has_value() ? *std::move(bytes) : spelling)) {
      return IdIsTaken(absl::StrCat("model.vocab[\"", ShownText(spelling), "\"]"), id);
    }
    ids->emplace(spelling, id);
  }
  return absl::OkStatus();
}

// Hugging Face numbers added tokens anew when it loads them: an entry of the vocabulary keeps its
// id, any other follows the highest so far. A file that says otherwise would give other ids there
// than here, so that it is refused.
absl::Status Tokenizer::Parts::BuildAddedTokens(const TokenizerJson& json,
                                                const IdsBySpelling& ids) {
  auto next_id = static_cast<std::int32_t>(json.vocabulary.size());
  for (std::size_t i = 0; i < json.added_tokens.size(); ++i) {
    AddedToken token = json.added_tokens[i];
    const std::string key =
        absl::StrCat("added_tokens[", i, "] \"", ShownText(token.content), "\"");
    const auto entry = ids.find(token.content);
    const std::int32_t expected_id = entry == ids.end() ? next_id : entry->second;
    if (token.id != expected_id && token.id != kPlaced) {
      return absl::InvalidArgumentError(
          absl::StrCat(key, " has id ", token.id, ", its place gives ", expected_id));
    }
    token.id = expected_id;
    if (!added.emplace(token.content, token.id).second) {
      return absl::InvalidArgumentError(absl::StrCat(key, " is there twice"));
    }
    if (entry == ids.end() && !DefineToken(token.id, token.content)) {
      return IdIsTaken(key, token.id);
    }
    next_id = std::max(next_id, token.id + 1);
    Token& defined = tokens[token.id];
    defined.bytes = token.content;
    defined.added = true;
    defined.special = token.special;
    std::string buffer;
    if (!token.normalized) {
      raw_matcher.Add(token, token.content);
    } else {
      normalized_matcher.Add(token, nfc ? NormalizeNfc(token.content, &buffer) : token.content);
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Parts::BuildMerges(const TokenizerJson& json, const IdsBySpelling& ids) {
  encoder.ReserveMerges(json.merges.size());
  std::vector<TokenMerge> merges;
  merges.reserve(json.merges.size());
  bool yields_added = false;
  for (std::size_t rank = 0; rank < json.merges.size(); ++rank) {
    ASSIGN_OR_RETURN(const TokenMerge merge, FindMerge(json.merges[rank], rank, ids));
    encoder.AddMerge(merge.left, merge.right, merge.rank, merge.merged);
    merges.push_back(merge);
    yields_added = yields_added || tokens[merge.merged].added;
  }
  encoder.Finish();
  if (!json.ignore_merges) whole = FindWholeTokens(encoder, merges, tokens.size());
  if (yields_added) BuildMessageEncoder(merges);
  return absl::OkStatus();
}

void Tokenizer::Parts::BuildMessageEncoder(std::span<const TokenMerge> merges) {
  message_encoder.emplace();
  for (int byte = 0; byte < 256; ++byte) {
    message_encoder->SetByteId(static_cast<std::uint8_t>(byte),
                               encoder.byte_id(static_cast<std::uint8_t>(byte)));
  }
  for (const TokenMerge& merge : merges) {
    if (tokens[merge.merged].added) continue;
    message_encoder->AddMerge(merge.left, merge.right, merge.rank, merge.merged);
  }
  message_encoder->Finish();
}

absl::Status Tokenizer::Parts::CheckBytes(const TokenizerJson& json) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::int32_t id = encoder.byte_id(static_cast<std::uint8_t>(byte));
    if (id == BytePairEncoder::kNoId) {
      num_missing_bytes += OccursInUtf8(byte) ? 1 : 0;
    } else if (tokens[id].added) {
      return absl::UnimplementedError(
          absl::StrCat("added_tokens: \"", ShownText(tokens[id].bytes),
                       "\" is also the vocabulary's only entry for a byte, which is not supported: "
                       "message text could not do without it"));
    }
  }
  if (json.byte_fallback && num_missing_bytes > 0) {
    return absl::UnimplementedError(
        absl::StrCat("model.byte_fallback is not supported where the vocabulary lacks bytes (here ",
                     num_missing_bytes, " of them)"));
  }
  if (json.unk_token.has_value() && num_missing_bytes > 0) {
    return absl::UnimplementedError(
        absl::StrCat("model.unk_token is not supported where the vocabulary lacks bytes (here ",
                     num_missing_bytes, " of them)"));
  }
  return absl::OkStatus();
}

// With ignore_merges every entry is direct; else those that merging gives as one token anyway.
void Tokenizer::Parts::BuildPieces(const TokenizerJson& json) {
  pieces = PieceTable(json.vocabulary.size());
  for (const auto& [spelling, id] : json.vocabulary) {
    const std::optional<std::string> bytes = BytesFromSpelling(spelling);
    if (!bytes.has_value() || bytes->empty()) continue;
    const bool direct = json.ignore_merges || IsWhole(id, *bytes);
    pieces.Insert(*bytes, {.id = static_cast<std::uint32_t>(id),
                           .direct = direct,
                           .direct_in_message = direct && !tokens[id].added});
  }
}

bool Tokenizer::Parts::IsWhole(std::int32_t id, std::string_view bytes) const {
  if (whole.has_value()) return (*whole)[id];
  std::vector<std::int32_t> ids;
  encoder.Encode(bytes, &ids);
  return ids.size() == 1 && ids[0] == id;
}

void Tokenizer::Parts::FindControlIds(const TokenizerFiles& files) {
  const auto named = [this](const std::optional<std::string>& content, std::string_view published) {
    return AddedId(content.has_value() ? std::string_view(*content) : published);
  };
  control_ids.bos = named(files.bos_token, kBos);
  control_ids.eos = named(files.eos_token, kEos);
  control_ids.user = AddedId(kUser);
  control_ids.assistant = AddedId(kAssistant);
  control_ids.think_begin = AddedId(kThinkBegin);
  control_ids.think_end = AddedId(kThinkEnd);
  control_ids.tool_outputs_end = AddedId(kToolOutputsEnd);
}

void Tokenizer::Parts::CountNeededIds() {
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].defined && !tokens[id].added) num_needed_ids = static_cast<std::int32_t>(id) + 1;
  }
  for (const std::optional<std::int32_t>& id :
       {control_ids.bos, control_ids.eos, control_ids.user, control_ids.assistant,
        control_ids.think_begin, control_ids.think_end}) {
    num_needed_ids = std::max(num_needed_ids, id.value_or(-1) + 1);
  }
}

std::optional<std::int32_t> Tokenizer::Parts::AddedId(std::string_view content) const {
  const auto token = added.find(content);
  if (token == added.end()) return std::nullopt;
  return token->second;
}

}  // namespace thinkwire::worker::text
