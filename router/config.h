#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/peer_limits.h"
#include "common/tls_files.h"
#include "router/http_options.h"
#include "router/variant_config.h"

namespace thinkwire::router {

// What the router serves: the YAML file.
struct RouterConfig {
  std::vector<VariantConfig> variants{};  // at least one; their order matters to the policy
};

// Reads the YAML text of a configuration; `source` names it in errors.
// Fails: INVALID_ARGUMENT, one line with place, key and what is allowed, for anything unknown,
// missing, repeated or out of range.
absl::StatusOr<RouterConfig> ParseConfig(const std::string& yaml, const std::string& source);

// The same from a regular file. Fails also: NOT_FOUND; INVALID_ARGUMENT for one that is too long.
absl::StatusOr<RouterConfig> LoadConfig(const std::string& path);

// The command line.
struct RouterOptions {
  std::string config;
  std::string listen = "127.0.0.1:50051";
  bool insecure_listen = false;
  std::string metrics_listen = "127.0.0.1:9401";
  std::int32_t max_connections = kMaxConnections;
  std::int32_t max_metadata_bytes = kMaxMetadataBytes;
  TlsFiles tls;                 // for clients
  TlsFiles worker_tls;          // for workers
  std::string worker_tls_name;  // empty: of each worker's address
  std::string api_keys;         // empty: everybody may call
  std::int32_t routers = 1;     // that share tenants' limits
  std::string trusted_peers;
  std::int32_t drain_timeout_s = 30;
  std::int32_t resume_wait_s = static_cast<std::int32_t>(kResumeWait.count());
  std::string log_level = "info";
  bool reflection = false;
  bool share_prefixes = false;
  std::string cache_salt_key_file;  // empty: a key is drawn at the start
  bool check_config = false;
  std::string dry_run;  // empty: serve
  HttpOptions http;
  bool help = false;
  bool version = false;
};

// Fails: INVALID_ARGUMENT, one sentence.
absl::StatusOr<RouterOptions> ParseArguments(std::span<const char* const> arguments);

// The help page.
std::string Usage();

// Writes every option that is set to the log, in one record.
void LogSettings(const RouterOptions& options);

}  // namespace thinkwire::router
