#pragma once

#include <cstdint>
#include <string>

namespace thinkwire::bench {

struct RelayWorkerOptions {
  std::string listen = "127.0.0.1:0";
  std::int32_t rate = 50;
  bool together = false;
};

// A worker that generates nothing: every call of WorkerService.Generate gets Started and then
// AnswerDeltas of one token each, until it is cancelled or has max_tokens; their text is
// RelayStamp, when they were sent. ReasoningService.Generate gets the same as a client would see
// it, for proxies that pass on what they are given. Until a signal ends it; its exit code.
int RunRelayWorker(const RelayWorkerOptions& options);

// Now, as eight hexadecimal digits: microseconds of the machine's steady clock, modulo 2^32. The
// text of a token.
std::string RelayStamp();
// How many microseconds ago `stamp` was made: less than an hour.
std::uint32_t RelayAge(const char* stamp);

}  // namespace thinkwire::bench
