#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/rpc/stream_contract.h"
#include "tests/bench/serve_record.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::bench {

// Holds one stream to the contract (rpc::StreamContract), and counts its tokens by itself. OK comes
// with Completed, and never without.
// Threads: one at a time.
class EventChecker {
 public:
  explicit EventChecker(const v1::GenerateRequest& request) : contract_(request) {}

  // The next event. Returns how many ids it carries.
  std::int32_t Add(const v1::GenerateResponse& event);

  // The last call.
  void End(const absl::Status& status);

  bool started() const { return contract_.started(); }
  const TokenCounts& tokens() const { return tokens_; }
  // The first, as what follows it means little; empty: all was well.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  void Note(const absl::Status& status);
  std::int32_t CountTokens(const v1::GenerateResponse& event);

  rpc::StreamContract contract_;
  TokenCounts tokens_;
  std::vector<std::string> violations_;
};

}  // namespace thinkwire::bench
