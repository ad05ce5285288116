#include "router/tenants.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"

namespace thinkwire::router {
namespace {

constexpr std::size_t kMaxCertificateNameBytes = 2048;  // a URI, as SPIFFE bounds it

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(View(what)); }

bool IsTenantName(std::string_view name) {
  const auto allowed = [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMaxTenantNameBytes && std::ranges::all_of(name, allowed);
}

bool IsHex(absl::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); });
}

constexpr std::string_view kMaxConcurrency = "max_concurrency";
constexpr std::string_view kTokensPerMinute = "tokens_per_minute";
constexpr std::string_view kWeight = "weight";
constexpr std::string_view kMaxPriority = "max_priority";
const absl::string_view kLimits[] = {View(kMaxConcurrency), View(kTokensPerMinute), View(kWeight),
                                     View(kMaxPriority)};
constexpr std::int64_t kMaxTenantLimit = 1'000'000'000'000;

bool IsLimit(absl::string_view name) { return std::ranges::count(kLimits, name) > 0; }

absl::Status ReadPriority(std::string_view value, admission::Priority& priority) {
  constexpr std::pair<std::string_view, admission::Priority> kNames[] = {
      {"low", admission::Priority::kLow},
      {"normal", admission::Priority::kNormal},
      {"high", admission::Priority::kHigh}};
  for (const auto& [name, meant] : kNames) {
    if (value != name) continue;
    priority = meant;
    return absl::OkStatus();
  }
  return Wrong("max_priority must be low, normal or high");
}

}  // namespace

absl::StatusOr<Tenants> Tenants::Parse(std::string_view text, const std::string& source) {
  Tenants tenants;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(View(text), '\n')) {
    ++number;
    const absl::string_view words = line.substr(0, line.find('#'));
    const absl::Status status = tenants.AddLine({words.data(), words.size()});
    if (!status.ok()) return Annotate(status, absl::StrCat(source, ":", number));
  }
  if (tenants.names_.empty()) return Wrong(absl::StrCat(source, ": names no tenant"));
  if (const absl::Status status = tenants.CheckKnown(); !status.ok()) {
    return Annotate(status, source);
  }
  return tenants;
}

absl::StatusOr<Tenants> Tenants::Load(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTenantsFileBytes));
  return Parse(text, path);
}

absl::Status Tenants::AddLine(std::string_view line) {
  const std::vector<std::string> words =
      absl::StrSplit(View(line), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
  if (words.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::size_t tenant, IndexOf(words[0]));
  if (words.size() == 1) {
    return Wrong(absl::StrCat("tenant ", words[0], " needs sha256:… or certificate:…, or a limit"));
  }
  for (std::size_t i = 1; i < words.size(); ++i) RETURN_IF_ERROR(AddWord(words[i], tenant));
  return absl::OkStatus();
}

absl::StatusOr<std::size_t> Tenants::IndexOf(std::string_view name) {
  if (!IsTenantName(name)) {
    // Not shown: it may well be a key that somebody has put there.
    return Wrong(absl::StrCat("a line begins with a tenant's name: 1 to ", kMaxTenantNameBytes,
                              " of letters, digits, '.', '_', '-'"));
  }
  const auto known = std::ranges::find(names_, name);
  const auto index = static_cast<std::size_t>(known - names_.begin());
  if (known != names_.end()) return index;
  if (names_.size() == kMaxTenants)
    return Wrong(absl::StrCat("more than ", kMaxTenants, " tenants"));
  names_.emplace_back(name);
  limits_.emplace_back();
  limited_.emplace_back();
  return index;
}

absl::Status Tenants::AddWord(std::string_view word, std::size_t tenant) {
  absl::string_view value = View(word);
  if (absl::ConsumePrefix(&value, "sha256:")) return AddKey({value.data(), value.size()}, tenant);
  if (absl::ConsumePrefix(&value, "certificate:")) {
    return AddCertificate({value.data(), value.size()}, tenant);
  }
  const std::pair<absl::string_view, absl::string_view> limit =
      absl::StrSplit(value, absl::MaxSplits('=', 1));
  if (IsLimit(limit.first)) {
    return AddLimit({limit.first.data(), limit.first.size()},
                    {limit.second.data(), limit.second.size()}, tenant);
  }
  // Likewise not shown: in base64 a key too may have '='.
  return Wrong(absl::StrCat("a word is neither sha256:… nor certificate:… nor one of ",
                            absl::StrJoin(kLimits, "=…, "), "=…"));
}

absl::Status Tenants::AddLimit(std::string_view name, std::string_view value, std::size_t tenant) {
  if (!limited_[tenant].insert(std::string(name)).second) {
    return Wrong(absl::StrCat(View(name), " is given twice"));
  }
  admission::TenantLimits& limits = limits_[tenant];
  if (name == kMaxPriority) return ReadPriority(value, limits.max_priority);
  const std::int64_t most = name == kWeight ? kMaxTenantWeight : kMaxTenantLimit;
  std::int64_t& limit = name == kWeight           ? limits.weight
                        : name == kMaxConcurrency ? limits.max_concurrency
                                                  : limits.tokens_per_minute;
  if (absl::SimpleAtoi(View(value), &limit) && limit >= 1 && limit <= most) {
    return absl::OkStatus();
  }
  return Wrong(absl::StrCat(View(name), " must be a whole number in [1, ", most, "]"));
}

// A tenant of limits alone could never call: its name is probably misspelt.
absl::Status Tenants::CheckKnown() const {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const auto is_its = [i](const auto& known) { return known.tenant == i; };
    if (std::ranges::any_of(keys_, is_its) || std::ranges::any_of(certificates_, is_its)) continue;
    return Wrong(absl::StrCat("tenant ", names_[i], " has neither sha256:… nor certificate:…"));
  }
  return absl::OkStatus();
}

admission::TenantLimits Tenants::LimitsOf(std::string_view tenant) const {
  const auto found = std::ranges::find(names_, tenant);
  return found == names_.end() ? admission::TenantLimits{} : limits_[found - names_.begin()];
}

absl::Status Tenants::AddKey(std::string_view hex, std::size_t tenant) {
  Key key{.tenant = tenant};
  if (hex.size() != 2 * key.digest.size() || !IsHex(View(hex))) {
    return Wrong("sha256: takes the 64 hexadecimal digits of the key's SHA-256");
  }
  const std::string bytes = absl::HexStringToBytes(View(hex));
  std::ranges::copy(bytes, reinterpret_cast<char*>(key.digest.data()));
  if (std::ranges::find(keys_, key.digest, &Key::digest) != keys_.end()) {
    return Wrong("a key is given twice");
  }
  if (keys_.size() == kMaxTenantKeys)
    return Wrong(absl::StrCat("more than ", kMaxTenantKeys, " keys"));
  keys_.push_back(key);
  return absl::OkStatus();
}

absl::Status Tenants::AddCertificate(std::string_view name, std::size_t tenant) {
  if (name.empty() || name.size() > kMaxCertificateNameBytes || !IsValidUtf8(name)) {
    return Wrong(absl::StrCat("certificate: takes 1 to ", kMaxCertificateNameBytes,
                              " bytes of UTF-8: a name of the certificate"));
  }
  if (!OfCertificate(name).empty()) {
    return Wrong(absl::StrCat("certificate:", ShownText(name), " is given twice"));
  }
  if (certificates_.size() == kMaxTenantCertificates) {
    return Wrong(absl::StrCat("more than ", kMaxTenantCertificates, " certificates"));
  }
  certificates_.push_back({.name = std::string(name), .tenant = tenant});
  return absl::OkStatus();
}

std::string Tenants::OfKey(std::string_view key) const {
  if (key.size() < kMinApiKeyBytes || key.size() > kMaxApiKeyBytes) return "";
  Digest digest{};
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  std::size_t found = names_.size();
  for (const Key& known : keys_) {
    if (CRYPTO_memcmp(known.digest.data(), digest.data(), digest.size()) == 0) found = known.tenant;
  }
  return found < names_.size() ? names_[found] : "";
}

std::string Tenants::OfCertificate(std::string_view name) const {
  const auto found = std::ranges::find(certificates_, name, &Certificate::name);
  return found == certificates_.end() ? "" : names_[found->tenant];
}

}  // namespace thinkwire::router
