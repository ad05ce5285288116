#include "worker/text/known_templates.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/file.h"
#include "common/gguf_file.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/text/template_pieces.h"

namespace thinkwire::worker::text {
namespace {

// The FNV-1a hashes of the pieces, of which the last but one, the generation prompt, is taken
// without `<think>`.
// deepseek-ai/DeepSeek-R1-Distill-*, chat_template of tokenizer_config.json.
constexpr std::uint32_t kDistillPieces[] = {
    0x41977de4, 0xcc7949b3, 0x0ef9a6c6, 0xf2eb9873, 0xf822f9c1, 0x31e5b249, 0x54db406e, 0x0ef9a6c6,
    0x69a63a50, 0xa88655dc, 0xb0be52ab, 0xf822f9c1, 0x01757557, 0xfe5a7fac, 0x1a3c153a, 0x0ef9a6c6,
    0x029d6fb1, 0xfe5a7fac, 0xb06cc5bb, 0xa136125c, 0x85ba9168, 0xe4fdfa35, 0xe3e5ee71, 0x4b6f7c9b,
    0xe3d243cf, 0x0ef9a6c6, 0x69a63a50, 0x0ef9a6c6, 0x7b04ae32, 0x45c2e29f, 0xd93d3e3e, 0xfe5a7fac,
    0xe3e5ee71, 0xa11df1aa, 0xc09c870e, 0x4041267f, 0x0ef9a6c6, 0xe84c0908, 0x0ef9a6c6, 0x0ef9a6c6,
    0x0b0371d8, 0xbf39f151, 0xb7ed866d, 0x3bead683, 0x1457809e, 0xe3e5ee71, 0x3692339c, 0x0ef9a6c6,
    0x0ef9a6c6, 0x69a63a50, 0x45c2e29f, 0xdf4121e9, 0x0ef9a6c6, 0xa36fda08, 0x809712e0, 0x0ef9a6c6,
};

// deepseek-ai/DeepSeek-R1.
constexpr std::uint32_t kR1Pieces[] = {
    0x41977de4, 0xcc7949b3, 0x0ef9a6c6, 0x9701ebcb, 0xf822f9c1, 0x31e5b249, 0x3637fd89, 0xc3b03e4c,
    0x1b93b512, 0xe3e5ee71, 0x176b1fcb, 0x0ef9a6c6, 0x0ef9a6c6, 0x69a63a50, 0xa88655dc, 0xb0be52ab,
    0xf822f9c1, 0x01757557, 0xfe5a7fac, 0x1a3c153a, 0x0ef9a6c6, 0x87fb23e3, 0xfe5a7fac, 0xb06cc5bb,
    0xa136125c, 0xcb39ca9f, 0x85ba9168, 0xe3e5ee71, 0x9382955e, 0x0ef9a6c6, 0xe4fdfa35, 0xe3e5ee71,
    0x4b6f7c9b, 0x0ef9a6c6, 0x69a63a50, 0xe3d243cf, 0x0ef9a6c6, 0x96115ab4, 0x45c2e29f, 0xd93d3e3e,
    0xfe5a7fac, 0xe3e5ee71, 0xa11df1aa, 0xc09c870e, 0x4041267f, 0x0ef9a6c6, 0xe84c0908, 0x0ef9a6c6,
    0x0ef9a6c6, 0x0b0371d8, 0xbf39f151, 0xb7ed866d, 0x3bead683, 0x1457809e, 0xe3e5ee71, 0x64984d9e,
    0x0ef9a6c6, 0x0ef9a6c6, 0x69a63a50, 0x45c2e29f, 0xdf4121e9, 0x0ef9a6c6, 0xa36fda08, 0x809712e0,
    0x0ef9a6c6,
};

// The distills' without what is of tools, as the bundled model has it.
constexpr std::uint32_t kPlainPieces[] = {
    0x41977de4, 0xcc7949b3, 0x0ef9a6c6, 0x17df56e5, 0xf822f9c1, 0x31e5b249, 0x54db406e,
    0x0ef9a6c6, 0x69a63a50, 0xa88655dc, 0xb0be52ab, 0xf822f9c1, 0x01757557, 0x1a3c153a,
    0x0ef9a6c6, 0x11cb97d8, 0xa11df1aa, 0xc09c870e, 0x4041267f, 0x0ef9a6c6, 0xe84c0908,
    0x0ef9a6c6, 0x69a63a50, 0x6802e78a, 0x809712e0, 0x0ef9a6c6,
};

struct KnownTemplate {
  TemplateKind kind;
  const char* name;
  std::span<const std::uint32_t> pieces;
};
constexpr KnownTemplate kKnown[] = {{TemplateKind::kDistill, "the R1 distills'", kDistillPieces},
                                    {TemplateKind::kR1, "R1's", kR1Pieces},
                                    {TemplateKind::kDistill, "the R1 distills'", kPlainPieces}};

std::uint32_t HashOf(std::string_view piece) {
  if (piece == "{'<｜Assistant｜><think>\\n'") piece = "{'<｜Assistant｜>'";
  std::uint32_t hash = 2166136261U;
  for (const char byte : piece) hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619U;
  return hash;
}

// How a person would write it.
std::string ShownPiece(std::string_view piece) {
  // ShownText escapes quotes, which stand in templates all over.
  const std::string code = absl::StrReplaceAll(ShownText(piece.substr(1)), {{"\\'", "'"}});
  if (piece[0] == '%') return absl::StrCat("{% ", code, " %}");
  return piece[0] == '{' ? absl::StrCat("{{ ", code, " }}") : code;
}

// A chat template and where it stands.
struct Source {
  std::string name;
  std::string text;
};

// A template, or several by name, of which "default" is for chats.
absl::StatusOr<std::string> ReadEntry(const nlohmann::json& entry) {
  if (entry.is_string()) return entry.get<std::string>();
  for (const nlohmann::json& one : entry.is_array() ? entry : nlohmann::json::array()) {
    const auto name = one.is_object() ? one.find("name") : one.end();
    if (!one.is_object() || name == one.end() || *name != "default") continue;
    const auto text = one.find("template");
    if (text != one.end() && text->is_string()) return text->get<std::string>();
  }
  return absl::InvalidArgumentError("chat_template is neither a text nor a list with a default");
}

using MaybeSource = absl::StatusOr<std::optional<Source>>;

MaybeSource ReadJinja(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "chat_template.jinja";
  auto text = ReadFile(path, kMaxTokenizerConfigBytes);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  if (!text.ok()) return text.status();
  return Source{path.string(), *std::move(text)};
}

MaybeSource ReadConfig(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer_config.json";
  const auto root = ReadJsonFile(path, {.max_bytes = kMaxTokenizerConfigBytes});
  if (absl::IsNotFound(root.status())) return std::nullopt;
  if (!root.ok()) return root.status();
  const auto entry = root->is_object() ? root->find("chat_template") : root->end();
  if (!root->is_object() || entry == root->end() || entry->is_null()) return std::nullopt;
  auto text = ReadEntry(*entry);
  if (!text.ok()) return Annotate(text.status(), path.string());
  return Source{absl::StrCat(path.string(), ": chat_template"), *std::move(text)};
}

MaybeSource ReadGguf(const std::filesystem::path& path) {
  constexpr char kKey[] = "tokenizer.chat_template";
  ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  const GgufValue* value = file.content().Find(kKey);
  if (value == nullptr) return std::nullopt;
  const auto* text = std::get_if<std::string_view>(value);
  const std::string name = absl::StrCat(path.string(), ": ", kKey);
  if (text != nullptr && text->size() <= kMaxTokenizerConfigBytes) {
    return Source{name, std::string(*text)};
  }
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is not a text of at most ", kMaxTokenizerConfigBytes, " bytes"));
}

// The one that is obeyed; nothing where the model has none. Adds to `warnings` if there is another
// that renders otherwise.
MaybeSource ReadSource(const std::filesystem::path& folder, std::vector<std::string>& warnings) {
  if (IsGgufPath(folder)) return ReadGguf(folder);
  ASSIGN_OR_RETURN(std::optional<Source> jinja, ReadJinja(folder));
  ASSIGN_OR_RETURN(std::optional<Source> config, ReadConfig(folder));
  if (!jinja) return config;
  if (config && TemplatePieces(config->text) != TemplatePieces(jinja->text)) {
    warnings.push_back(absl::StrCat(config->name, " is not obeyed: ", jinja->name, " is"));
  }
  return jinja;
}

}  // namespace

absl::StatusOr<TemplateKind> RecogniseTemplate(std::string_view source) {
  const std::vector<std::string> pieces = TemplatePieces(source);
  std::vector<std::uint32_t> hashes;
  for (const std::string& piece : pieces) hashes.push_back(HashOf(piece));
  const KnownTemplate* nearest = nullptr;
  std::size_t most = 0;  // pieces that the nearest begins with too
  for (const KnownTemplate& known : kKnown) {
    if (std::ranges::equal(known.pieces, hashes)) return known.kind;
    const auto same =
        static_cast<std::size_t>(std::ranges::mismatch(known.pieces, hashes).in2 - hashes.begin());
    if (nearest == nullptr || same > most) {
      nearest = &known;
      most = same;
    }
  }
  const std::string where =
      most < pieces.size() ? absl::StrCat("at ", ShownPiece(pieces[most])) : "in its end";
  return absl::NotFoundError(absl::StrCat("is not one that this program renders: it departs from ",
                                          nearest->name, " ", where, ", piece ", most + 1, " of ",
                                          pieces.size()));
}

absl::StatusOr<std::optional<std::string>> ReadChatTemplate(const std::filesystem::path& model) {
  std::vector<std::string> warnings;
  ASSIGN_OR_RETURN(std::optional<Source> source, ReadSource(model, warnings));
  if (!source) return std::nullopt;
  return std::move(source->text);
}

absl::StatusOr<TemplateChoice> ChooseTemplate(const std::filesystem::path& model,
                                              const Tokenizer& tokenizer, bool any) {
  TemplateChoice choice{.kind = DetectTemplateKind(tokenizer), .warnings = {}};
  ASSIGN_OR_RETURN(const std::optional<Source> source, ReadSource(model, choice.warnings));
  if (!source) return choice;
  const auto kind = RecogniseTemplate(source->text);
  if (kind.ok()) {
    choice.kind = *kind;
    return choice;
  }
  const std::string what = absl::StrCat(source->name, " ", kind.status().message());
  if (!any) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, "; --chat_template=builtin renders chats as the family's, whatever this says"));
  }
  choice.warnings.push_back(absl::StrCat(what, "; the family's is used"));
  return choice;
}

}  // namespace thinkwire::worker::text
