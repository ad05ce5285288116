#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tls_files.h"
#include "tests/bench/serve_lengths.h"

namespace thinkwire::bench {

// All that `thinkwire-bench serve` can be told; serve_options.cc says what each means.
struct ServeOptions {
  std::string router = "localhost:50051";
  TlsFiles tls{};
  std::string api_key_file{};
  std::string variant;

  // The load.
  std::int32_t concurrency = 16;
  bool in_waves = false;
  std::optional<float> rate;
  std::int32_t max_in_flight = 1000;
  std::int32_t requests = 100;  // INT32_MAX where only the time is limited
  std::optional<std::int32_t> duration_s;
  std::int32_t warmup_requests = 0;
  std::int32_t drain_s = 60;

  // Each request.
  std::optional<LengthDistribution> prompt_tokens;
  std::optional<LengthDistribution> max_tokens;  // always there once parsed
  bool ignore_eos = false;
  std::optional<float> temperature;
  std::int32_t seed = 0;
  std::int32_t deadline_ms = 0;
  std::optional<float> cancel_share;
  std::optional<LengthDistribution> cancel_after_tokens;  // likewise
  std::optional<float> bad_share;

  // The figures.
  std::int32_t goodput_ms = 0;
  std::vector<std::int32_t> pids;
  std::string json;
  bool help = false;
};

// Fails: INVALID_ARGUMENT, one sentence that names the option and what is allowed.
absl::StatusOr<ServeOptions> ParseServeOptions(std::span<const char* const> arguments);

std::string ServeUsage();

}  // namespace thinkwire::bench
