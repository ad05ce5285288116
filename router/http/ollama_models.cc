#include "router/http/ollama_models.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/json.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "common/strings.h"
#include "router/decision/variant_names.h"
#include "router/http/http_limits.h"
#include "router/http/json_text.h"
#include "router/http/models.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

constexpr char kAuto[] = "auto";
constexpr char kLatest[] = ":latest";
constexpr char kForever[] = "9999-12-31T23:59:59Z";
constexpr std::size_t kMaxLoadRequestBytes = 1024;  // larger ones ask something
// The first release of Ollama with `think` in its requests.
constexpr char kOllamaRelease[] = "0.9.0";

// As general.architecture in the GGUF files of the family; empty: of another family.
std::string_view ArchitectureOf(const std::string& name) {
  if (decision::KnownAliases(name).empty()) return "";
  if (absl::StartsWith(name, "qwen-")) return "qwen2";
  return absl::StartsWith(name, "llama-") ? "llama" : "deepseek2";
}

// "7B" of qwen-7b.
std::string SizeOf(const std::string& name) {
  if (ArchitectureOf(name).empty()) return "";
  return absl::AsciiStrToUpper(name.substr(name.rfind('-') + 1));
}

std::string DetailsJson(const std::string& name) {
  const std::string family = JsonString(ArchitectureOf(name));
  return absl::StrCat(R"({"parent_model":"","format":"","family":)", family, R"(,"families":[)",
                      family, R"(],"parameter_size":)", JsonString(SizeOf(name)),
                      R"(,"quantization_level":""})");
}

std::string DigestOf(const v1::Variant& variant) {
  const std::string all =
      absl::StrCat(variant.name(), "\n", absl::StrJoin(variant.fingerprints(), "\n"));
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(all.data()), all.size(), digest.data());
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

std::string EntryJson(const v1::Variant& variant, std::string_view more) {
  const std::string name = JsonString(variant.name() + kLatest);
  return absl::StrCat(R"({"name":)", name, R"(,"model":)", name, R"(,"size":0,"digest":")",
                      DigestOf(variant), R"(","details":)", DetailsJson(variant.name()), View(more),
                      "}");
}

std::string ListJson(const std::vector<std::string>& entries) {
  return absl::StrCat(R"({"models":[)", absl::StrJoin(entries, ","), "]}");
}

// The router's choice, with the largest context that a variant has.
v1::Variant Auto(const std::vector<v1::Variant>& variants) {
  v1::Variant any;
  any.set_name(kAuto);
  for (const v1::Variant& variant : variants) {
    any.set_max_model_len(std::max(any.max_model_len(), variant.max_model_len()));
  }
  return any;
}

absl::StatusOr<v1::Variant> Find(const std::vector<v1::Variant>& variants,
                                 const std::string& name) {
  const std::string plain = WithoutLatest(name);
  if (absl::EqualsIgnoreCase(plain, kAuto)) return Auto(variants);
  const v1::Variant* const found = FindVariant(variants, plain);
  if (found == nullptr) return NoSuchModel(name);
  return *found;
}

// The value of a key that is a string; else empty.
std::string TextOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool IsZero(const Json& keep_alive) {
  return keep_alive == 0 || keep_alive == "0" || keep_alive == "0s" || keep_alive == "0m";
}

}  // namespace

std::string WithoutLatest(const std::string& name) {
  if (!decision::WhyAmbiguous(name).empty()) return name;
  return std::string(absl::StripSuffix(name, kLatest));
}

std::string JsonTime(std::int64_t unix_seconds) {
  return absl::FormatTime("\"%Y-%m-%dT%H:%M:%SZ\"", absl::FromUnixSeconds(unix_seconds),
                          absl::UTCTimeZone());
}

std::string TagsJson(const std::vector<v1::Variant>& variants) {
  const std::string modified = absl::StrCat(R"(,"modified_at":)", JsonTime(0));
  std::vector<std::string> entries = {EntryJson(Auto(variants), modified)};
  for (const v1::Variant& variant : variants) entries.push_back(EntryJson(variant, modified));
  return ListJson(entries);
}

std::string RunningJson(const std::vector<v1::Variant>& variants) {
  std::vector<std::string> entries;
  for (const v1::Variant& variant : variants) {
    if (variant.live_workers() == 0) continue;
    entries.push_back(
        EntryJson(variant, absl::StrCat(R"(,"expires_at":")", kForever, R"(","size_vram":0,)",
                                        R"("context_length":)", variant.max_model_len())));
  }
  return ListJson(entries);
}

absl::StatusOr<std::string> ShowJson(const std::vector<v1::Variant>& variants,
                                     std::string_view body) {
  ASSIGN_OR_RETURN(const Json document,
                   ParseJson(body, "the body", {.max_values = kMaxBodyValues}));
  const std::string model =
      document.is_object() ? TextOf(document, document.contains("model") ? "model" : "name") : "";
  if (model.empty()) return rpc::InvalidField("model", "is required, and a string");
  ASSIGN_OR_RETURN(const v1::Variant variant, Find(variants, model));
  const std::string_view known = ArchitectureOf(variant.name());
  const std::string_view architecture = known.empty() ? "unknown" : known;
  return absl::StrCat(R"({"modelfile":"","parameters":"","template":"","details":)",
                      DetailsJson(variant.name()), R"(,"model_info":{"general.architecture":")",
                      View(architecture), R"(",")", View(architecture), R"(.context_length":)",
                      variant.max_model_len(), R"(},"capabilities":["completion","thinking"],)",
                      R"("modified_at":)", JsonTime(0), "}");
}

std::string OllamaVersionJson() { return absl::StrCat(R"({"version":")", kOllamaRelease, "\"}"); }

std::optional<LoadRequest> ReadLoadRequest(std::string_view body, bool chat) {
  if (body.size() > kMaxLoadRequestBytes) return std::nullopt;
  const auto document = ParseJson(body, "the body", {.max_values = kMaxBodyValues});
  if (!document.ok() || !document->is_object()) return std::nullopt;
  const Json question = document->value(chat ? "messages" : "prompt", Json());
  const auto* const text = question.get_ptr<const Json::string_t*>();
  const bool asks = text != nullptr ? !text->empty() : !question.empty();
  const std::string model = TextOf(*document, "model");
  if (asks || model.empty()) return std::nullopt;
  return LoadRequest{.model = model, .unloads = IsZero(document->value("keep_alive", Json()))};
}

absl::StatusOr<std::string> LoadReplyJson(const std::vector<v1::Variant>& variants,
                                          const LoadRequest& request, bool chat,
                                          std::int64_t created) {
  RETURN_IF_ERROR(Find(variants, request.model).status());
  return absl::StrCat(
      R"({"model":)", JsonString(request.model), R"(,"created_at":)", JsonTime(created), ",",
      chat ? R"("message":{"role":"assistant","content":""})" : R"("response":"")",
      R"(,"done":true,"done_reason":")", request.unloads ? "unload" : "load", "\"}");
}

absl::Status CheckContext(const std::vector<v1::Variant>& variants, const Asked& asked) {
  const std::string& name = asked.request.variant();
  const v1::Variant any = Auto(variants);
  const v1::Variant* const variant = name.empty() ? &any : FindVariant(variants, name);
  // No live worker, or no variant: the router says so.
  if (variant == nullptr || variant->max_model_len() == 0) return absl::OkStatus();
  if (asked.context_tokens <= variant->max_model_len()) return absl::OkStatus();
  return rpc::InvalidField("options.num_ctx",
                           absl::StrCat("may be at most ", variant->max_model_len(),
                                        " for this model, is ", asked.context_tokens));
}

}  // namespace thinkwire::router::http
