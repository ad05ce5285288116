#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "router/admission/tenant_limits.h"

namespace thinkwire::router {

// Whom the router serves, from --api_keys: each tenant by a name, and by what it is known. A line
// of the file is a name and some words, each a key, by its SHA-256, or what a client's certificate
// says; a name may have several lines, and '#' begins a comment:
//
//   search  sha256:5f4dcc3b… sha256:9b74c989…   # two keys, as while one follows the other
//   batch   certificate:spiffe://example.org/batch
//   batch   max_concurrency=64 tokens_per_minute=500000 weight=2 max_priority=low
//
// Words name=value limit the tenant (admission::TenantLimits), each at most once.
// Keys are not in the file, so that who reads it, or a copy of it, has none. A plain SHA-256 is
// enough for that: a key is 256 random bits, which nobody finds by trying, however fast one try is.
// (Slow hashes protect what people choose; here they would let a flood of wrong keys take the
// CPU.)
// Threads: constant.
class Tenants {
 public:
  // `source` names the text in errors. Fails: INVALID_ARGUMENT, "file:line: …", for what is neither
  // name nor word, for a key or a certificate of two tenants, for a limit given twice or out of
  // range, for too much (input_limits.h), for a tenant that nothing is known by, and for a file
  // without a tenant.
  static absl::StatusOr<Tenants> Parse(std::string_view text, const std::string& source);

  // The same from a regular file. Fails also: as ReadFile.
  static absl::StatusOr<Tenants> Load(const std::string& path);

  // The tenant's name; empty: there is none. All keys are compared, and each to its end, so that
  // the time tells nothing of them.
  std::string OfKey(std::string_view key) const;
  // By a name that a verified certificate has.
  std::string OfCertificate(std::string_view name) const;

  // No limits where there is no such tenant.
  admission::TenantLimits LimitsOf(std::string_view tenant) const;

  // In the order of the file, each once.
  const std::vector<std::string>& names() const { return names_; }

 private:
  using Digest = std::array<std::uint8_t, 32>;
  struct Key {
    Digest digest{};
    std::size_t tenant = 0;  // in names_
  };
  struct Certificate {
    std::string name;
    std::size_t tenant = 0;
  };

  absl::Status AddLine(std::string_view line);
  absl::Status AddWord(std::string_view word, std::size_t tenant);
  absl::Status AddKey(std::string_view hex, std::size_t tenant);
  absl::Status AddCertificate(std::string_view name, std::size_t tenant);
  absl::Status AddLimit(std::string_view name, std::string_view value, std::size_t tenant);
  absl::Status CheckKnown() const;
  absl::StatusOr<std::size_t> IndexOf(std::string_view name);

  std::vector<std::string> names_;
  std::vector<admission::TenantLimits> limits_;  // by tenant
  std::vector<std::set<std::string>> limited_;   // which limits its lines have
  std::vector<Key> keys_;
  std::vector<Certificate> certificates_;
};

}  // namespace thinkwire::router
