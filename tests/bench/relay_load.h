#pragma once

#include <cstdint>
#include <string>

namespace thinkwire::bench {

struct RelayLoadOptions {
  std::string target = "127.0.0.1:50051";
  std::int32_t streams = 128;
  std::int32_t connections = 128;
  std::int32_t seconds = 10;
  std::int32_t warmup_s = 2;
  std::int32_t rest_ms = 0;
  std::int32_t pid = 0;
};

// Reads streams of RunRelayWorker and prints one line: messages, tokens, their ages (p50 and p99 in
// microseconds) and the CPU time of the process `pid` for each message and each token, in
// microseconds. The exit code: 1 if a stream has failed or a token is missing.
int RunRelayLoad(const RelayLoadOptions& options);

}  // namespace thinkwire::bench
