#pragma once

namespace thinkwire::rpc {

// From now on Abseil does not record in which order this process takes its mutexes, nor ends it
// where an order has a circle. Debian 12 builds Abseil without NDEBUG, so that every process on it
// does so with each lock of gRPC's: a tenth of what passing a message on takes
// (tests/bench/RESULTS.md), under one lock for all threads, and an abort where two orders could
// never meet. Ours are watched by ThreadSanitizer.
// Threads: any.
void DoNotWatchLockOrder();

}  // namespace thinkwire::rpc
