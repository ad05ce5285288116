#include "router/http/models.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/rpc/status_details.h"
#include "common/shown_text.h"
#include "common/strings.h"
#include "router/decision/variant_names.h"
#include "router/http/json_text.h"

namespace thinkwire::router::http {
namespace {

constexpr char kAuto[] = "auto";

// Nobody knows when a variant was made.
std::string Json(std::string_view id, std::string_view more) {
  return absl::StrCat(R"({"id":)", JsonString(id),
                      R"(,"object":"model","created":0,"owned_by":"thinkwire")", View(more), "}");
}

std::string AliasesJson(const v1::Variant& variant) {
  return absl::StrJoin(variant.aliases(), ",", [](std::string* out, const std::string& alias) {
    AppendJsonString(alias, out);
  });
}

std::string VariantJson(const v1::Variant& variant) {
  return Json(variant.name(),
              absl::StrCat(R"(,"max_model_len":)", variant.max_model_len(), R"(,"live_workers":)",
                           variant.live_workers(), R"(,"aliases":[)", AliasesJson(variant), "]"));
}

bool IsCalled(const v1::Variant& variant, std::string_view name) {
  return absl::EqualsIgnoreCase(variant.name(), View(name)) ||
         std::ranges::any_of(variant.aliases(), [&](const std::string& alias) {
           return decision::MatchesAlias(name, alias);
         });
}

}  // namespace

std::string ModelsJson(const std::vector<v1::Variant>& variants) {
  std::string json = R"({"object":"list","data":[)" + Json(kAuto, "");
  for (const v1::Variant& variant : variants) absl::StrAppend(&json, ",", VariantJson(variant));
  return json + "]}";
}

absl::StatusOr<std::string> ModelJson(const std::vector<v1::Variant>& variants,
                                      std::string_view name) {
  if (absl::EqualsIgnoreCase(View(name), kAuto)) return Json(kAuto, "");
  const v1::Variant* const found = FindVariant(variants, name);
  if (found == nullptr) return NoSuchModel(name);
  return VariantJson(*found);
}

const v1::Variant* FindVariant(const std::vector<v1::Variant>& variants, std::string_view name) {
  const auto found = std::ranges::find_if(
      variants, [&](const v1::Variant& variant) { return IsCalled(variant, name); });
  return found == variants.end() ? nullptr : &*found;
}

absl::Status NoSuchModel(std::string_view name) {
  return rpc::Error(absl::StatusCode::kNotFound, "VARIANT_NOT_FOUND",
                    absl::StrCat("no model is called \"", ShownText(name), "\" here"));
}

Health HealthOf(const std::vector<v1::Variant>& variants) {
  Health health;
  const std::string live =
      absl::StrJoin(variants, ",", [](std::string* out, const v1::Variant& variant) {
        absl::StrAppend(out, JsonString(variant.name()), ":", variant.live_workers());
      });
  health.live = std::ranges::any_of(
      variants, [](const v1::Variant& variant) { return variant.live_workers() > 0; });
  health.json = absl::StrCat(R"({"status":")", health.live ? "ok" : "no live worker",
                             R"(","live_workers":{)", live, "}}");
  return health;
}

}  // namespace thinkwire::router::http
