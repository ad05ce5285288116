#include "worker/hub/settings.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/shown_text.h"
#include "common/status.h"

namespace thinkwire::worker::hub {
namespace {

constexpr char kEndpoint[] = "https://huggingface.co";
constexpr std::size_t kMaxTokenBytes = 4096;
constexpr long kTimeoutS = 10;  // huggingface_hub's
constexpr long kMaxTimeoutS = 3600;

// Set and not empty.
std::string Value(const Environment& environment, const char* name) {
  const char* value = environment(name);
  return value == nullptr ? "" : value;
}

// "~" and "~/x" are of HOME.
std::filesystem::path Expanded(const Environment& environment, const std::string& path) {
  if (path != "~" && !absl::StartsWith(path, "~/")) return path;
  return Value(environment, "HOME") + path.substr(1);
}

// HF_HOME, or where it would be; empty: nobody says.
std::filesystem::path Home(const Environment& environment) {
  if (const std::string home = Value(environment, "HF_HOME"); !home.empty()) {
    return Expanded(environment, home);
  }
  if (const std::string caches = Value(environment, "XDG_CACHE_HOME"); !caches.empty()) {
    return Expanded(environment, caches) / "huggingface";
  }
  const std::string home = Value(environment, "HOME");
  return home.empty() ? "" : std::filesystem::path(home) / ".cache" / "huggingface";
}

// As huggingface_hub reads a truth.
bool IsTrue(const std::string& value) {
  const std::string upper = absl::AsciiStrToUpper(value);
  return upper == "1" || upper == "ON" || upper == "YES" || upper == "TRUE";
}

absl::StatusOr<std::string> Endpoint(const Environment& environment) {
  std::string endpoint = Value(environment, "HF_ENDPOINT");
  if (endpoint.empty()) return kEndpoint;
  while (absl::EndsWith(endpoint, "/")) endpoint.pop_back();
  const bool printable = std::ranges::all_of(
      endpoint, [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); });
  if (!printable ||
      (!absl::StartsWith(endpoint, "http://") && !absl::StartsWith(endpoint, "https://"))) {
    return absl::InvalidArgumentError(
        absl::StrCat("HF_ENDPOINT '", ShownText(endpoint), "' is no http:// or https:// URL"));
  }
  return endpoint;
}

// A token may stand behind line breaks and spaces, but has none within.
absl::StatusOr<std::string> Cleaned(std::string token, const std::string& where) {
  absl::StripAsciiWhitespace(&token);
  const bool printable = std::ranges::all_of(
      token, [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); });
  if (printable && token.size() <= kMaxTokenBytes) return token;
  return absl::InvalidArgumentError(absl::StrCat(where, " holds no token: one word of at most ",
                                                 kMaxTokenBytes, " printable ASCII characters"));
}

absl::StatusOr<std::string> Token(const Environment& environment,
                                  const std::filesystem::path& home) {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (std::string token = Value(environment, name); !token.empty()) {
      return Cleaned(std::move(token), name);
    }
  }
  const std::string named = Value(environment, "HF_TOKEN_PATH");
  const std::filesystem::path path = named.empty() ? home / "token" : Expanded(environment, named);
  auto token = ReadFile(path, kMaxTokenBytes);
  // huggingface_hub goes on without one, too.
  if (absl::IsNotFound(token.status())) return std::string();
  RETURN_IF_ERROR(token.status());
  return Cleaned(*std::move(token), path.string());
}

// Those of requests, of which huggingface_hub was made up to 1.x, go first; httpx reads the last.
absl::StatusOr<std::filesystem::path> Authorities(const Environment& environment) {
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const std::filesystem::path path = Expanded(environment, Value(environment, name));
    if (path.empty()) continue;
    std::error_code absent;
    if (std::filesystem::exists(path, absent)) return path;
    return absl::InvalidArgumentError(
        absl::StrCat(name, " '", ShownText(path.string()), "' is no file that is there"));
  }
  return std::filesystem::path();
}

absl::StatusOr<long> DownloadTimeout(const Environment& environment) {
  const std::string text = Value(environment, "HF_HUB_DOWNLOAD_TIMEOUT");
  std::int64_t seconds = kTimeoutS;
  if (text.empty()) return kTimeoutS;
  if (absl::SimpleAtoi(text, &seconds) && seconds >= 1 && seconds <= kMaxTimeoutS) {
    return static_cast<long>(seconds);
  }
  return absl::InvalidArgumentError(absl::StrCat("HF_HUB_DOWNLOAD_TIMEOUT '", ShownText(text),
                                                 "' is no whole number from 1 to ", kMaxTimeoutS));
}

}  // namespace

absl::StatusOr<HubSettings> ReadHubSettings(const Environment& environment) {
  HubSettings settings;
  const std::filesystem::path home = Home(environment);
  settings.cache = home / "hub";
  for (const char* name : {"HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE"}) {
    if (const std::string cache = Value(environment, name); !cache.empty()) {
      settings.cache = Expanded(environment, cache);
    }
  }
  if (settings.cache == "hub") {
    return absl::InvalidArgumentError(
        "nobody says where models are kept: set HF_HUB_CACHE, HF_HOME or HOME");
  }
  ASSIGN_OR_RETURN(settings.endpoint, Endpoint(environment));
  ASSIGN_OR_RETURN(settings.token, Token(environment, home));
  ASSIGN_OR_RETURN(settings.ca, Authorities(environment));
  ASSIGN_OR_RETURN(settings.download_timeout_s, DownloadTimeout(environment));
  const std::string offline = Value(environment, "HF_HUB_OFFLINE");
  settings.offline = IsTrue(offline.empty() ? Value(environment, "TRANSFORMERS_OFFLINE") : offline);
  return settings;
}

}  // namespace thinkwire::worker::hub
