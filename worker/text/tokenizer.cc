#include "worker/text/tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/gguf_file.h"
#include "common/status.h"
#include "common/utf8.h"
#include "worker/text/gguf_tokenizer.h"
#include "worker/text/nfc.h"
#include "worker/text/tokenizer_files.h"
#include "worker/text/tokenizer_parts.h"

namespace thinkwire::worker::text {
namespace {

// As in most English and code; only to reserve memory.
constexpr std::size_t kBytesOfOneToken = 4;

// Valid UTF-8: `text`, or its repair in `*buffer`.
std::string_view Repaired(std::string_view text, std::string* buffer) {
  if (IsValidUtf8(text)) return text;
  *buffer = ReplaceInvalidUtf8(text);
  return *buffer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::filesystem::path& model) {
  if (!IsGgufPath(model)) {
    ASSIGN_OR_RETURN(TokenizerFiles files, ReadTokenizerFiles(model));
    return Build(std::move(files), (model / "tokenizer.json").string());
  }
  ASSIGN_OR_RETURN(TokenizerFiles files, ReadGgufTokenizer(model));
  return Build(std::move(files),
               absl::StrCat(model.string(), ": tokenizer.ggml as tokenizer.json"));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Build(TokenizerFiles files,
                                                            const std::string& name) {
  auto parts = std::make_unique<Parts>();
  if (absl::Status status = parts->Build(files.json); !status.ok()) {
    return Annotate(status, name);
  }
  parts->FindControlIds(files);
  parts->CountNeededIds();
  parts->warnings = std::move(files.warnings);
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

std::vector<std::int32_t> Tokenizer::Encode(std::string_view utf8) const {
  std::vector<std::int32_t> ids;
  ids.reserve(utf8.size() / kBytesOfOneToken);
  std::string repaired;
  std::string normalized;
  const auto add_id = [&](std::int32_t id) { ids.push_back(id); };
  const PieceCachePool::Lease cache(*parts_->caches);
  const auto encode_pieces = [&](std::span<const std::string_view> pieces, std::string_view text) {
    parts_->EncodePieces(pieces, text, TextKind::kPrompt, *cache, &ids);
  };
  const auto encode_normalized = [&](std::string_view text) {
    parts_->splitter->Split(text, encode_pieces);
  };
  const auto encode_raw = [&](std::string_view text) {
    if (parts_->nfc) text = NormalizeNfc(text, &normalized);
    parts_->normalized_matcher.Scan(text, encode_normalized, add_id);
  };
  parts_->raw_matcher.Scan(Repaired(utf8, &repaired), encode_raw, add_id);
  return ids;
}

std::vector<std::int32_t> Tokenizer::EncodeUserText(std::string_view utf8) const {
  std::vector<std::int32_t> ids;
  ids.reserve(utf8.size() / kBytesOfOneToken);
  std::string repaired;
  std::string normalized;
  std::string_view text = Repaired(utf8, &repaired);
  if (parts_->nfc) text = NormalizeNfc(text, &normalized);
  const PieceCachePool::Lease cache(*parts_->caches);
  const auto encode_pieces = [&](std::span<const std::string_view> pieces, std::string_view text) {
    parts_->EncodePieces(pieces, text, TextKind::kMessage, *cache, &ids);
  };
  parts_->splitter->Split(text, encode_pieces);
  return ids;
}

std::string_view Tokenizer::TokenBytes(std::int32_t id) const {
  return parts_->IsDefined(id) ? std::string_view(parts_->tokens[id].bytes) : std::string_view();
}

bool Tokenizer::IsSpecial(std::int32_t id) const {
  return parts_->IsDefined(id) && parts_->tokens[id].special;
}

bool Tokenizer::IsAdded(std::int32_t id) const {
  return parts_->IsDefined(id) && parts_->tokens[id].added;
}

std::optional<std::int32_t> Tokenizer::TokenId(std::string_view content) const {
  if (std::optional<std::int32_t> id = parts_->AddedId(content)) return id;
  const PieceTable::Entry* entry = parts_->pieces.Find(content);
  if (entry == nullptr) return std::nullopt;
  return static_cast<std::int32_t>(entry->id);
}

std::int32_t Tokenizer::num_ids() const { return static_cast<std::int32_t>(parts_->tokens.size()); }
int Tokenizer::num_missing_bytes() const { return parts_->num_missing_bytes; }
std::int32_t Tokenizer::num_needed_ids() const { return parts_->num_needed_ids; }
const std::vector<std::string>& Tokenizer::warnings() const { return parts_->warnings; }
const ControlIds& Tokenizer::control_ids() const { return parts_->control_ids; }

}  // namespace thinkwire::worker::text
