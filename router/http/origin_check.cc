#include "router/http/origin_check.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/rpc/peers.h"
#include "common/rpc/status_details.h"
#include "common/shown_text.h"
#include "common/strings.h"

namespace thinkwire::router::http {
namespace {

absl::Status Denied(const char* reason, const std::string& why) {
  return rpc::Error(absl::StatusCode::kPermissionDenied, reason, why);
}

// Without its port and brackets.
std::string NameOf(std::string_view host) {
  if (host.starts_with('[')) return std::string(host.substr(1, host.find(']') - 1));
  return std::string(host.substr(0, host.find(':')));
}

bool Contains(const std::vector<std::string>& list, std::string_view word) {
  return std::ranges::any_of(list, [&](const std::string& entry) {
    return entry == "*" || absl::EqualsIgnoreCase(entry, View(word));
  });
}

bool IsOwnName(const std::string& name) {
  return absl::EqualsIgnoreCase(name, "localhost") ||
         absl::EndsWithIgnoreCase(name, ".localhost") || rpc::ReadIpAddress(name).has_value();
}

}  // namespace

bool OriginCheck::IsWanted(std::string_view origin) const { return Contains(origins_, origin); }

absl::Status OriginCheck::Check(const Request& request) const {
  const std::string_view host = request.header("host");
  const std::string name = NameOf(host);
  if (!host.empty() && !IsOwnName(name) && !Contains(hosts_, name)) {
    return Denied("HOST_NOT_ALLOWED",
                  absl::StrCat("the host \"", ShownText(name), "\" is not one of --http_hosts"));
  }
  const std::string_view origin = request.header("origin");
  if (origin.empty() || IsWanted(origin)) return absl::OkStatus();
  const std::size_t scheme = origin.find("://");
  const bool own =
      scheme != origin.npos && absl::EqualsIgnoreCase(View(origin.substr(scheme + 3)), View(host));
  if (own) return absl::OkStatus();
  return Denied("ORIGIN_NOT_ALLOWED", absl::StrCat("pages of \"", ShownText(origin),
                                                   "\" are not among --http_cors_origins"));
}

HeaderFields OriginCheck::CorsFields(const Request& request) const {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || !IsWanted(origin)) return {};
  return {{"Access-Control-Allow-Origin", std::string(origin)},
          {"Access-Control-Expose-Headers", "x-request-id, retry-after, warning"},
          {"Vary", "Origin"}};
}

std::vector<std::string> ReadList(std::string_view text) {
  std::vector<std::string> list;
  for (absl::string_view entry : absl::StrSplit(View(text), ',')) {
    entry = absl::StripAsciiWhitespace(entry);
    if (!entry.empty()) list.emplace_back(entry);
  }
  return list;
}

}  // namespace thinkwire::router::http
