#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace thinkwire::worker::hub {

// What the environment says of the hub and its cache, by the variables that huggingface_hub reads.
struct HubSettings {
  std::filesystem::path cache;  // HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, …
  std::string endpoint;         // HF_ENDPOINT, without a slash at its end
  std::string token;            // HF_TOKEN, or what is in HF_TOKEN_PATH; empty: none
  // Of CAs, in PEM, or a folder of them: REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE; empty:
  // the system's.
  std::filesystem::path ca;
  long download_timeout_s = 10;  // HF_HUB_DOWNLOAD_TIMEOUT: without a byte for so long, try again
  bool offline = false;          // HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE
};

// A variable's value; nullptr where it is not set.
using Environment = std::function<const char*(const char* name)>;

// Fails: INVALID_ARGUMENT, naming the variable, for an endpoint that is no http:// or https:// URL,
// CAs that are not there, a timeout that is not 1 to 3600, a token that no header can carry, and
// where neither these nor HOME say where the cache is.
absl::StatusOr<HubSettings> ReadHubSettings(const Environment& environment);

}  // namespace thinkwire::worker::hub
