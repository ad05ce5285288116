#pragma once

namespace thinkwire::rpc {

// From now on gRPC tells a peer that it may send more of a stream once some of the stream's window
// is used up, or along with whatever else goes there. gRPC 1.51 does so after each message, as soon
// as a reader waits for the next one, with a write of its own: whoever passes messages on writes
// twice for each then, and wakes the worker for each that it has sent (tests/bench/RESULTS.md).
// Later gRPC does not (grpc/grpc#34265). This file replaces the function of gRPC's library that
// says how urgent that is.
// REQUIRES: of no channel or server is a stream's window ever smaller than 32 KiB. They are 64 KiB
// where gRPC does not fit them to the bandwidth and to its memory (GRPC_ARG_HTTP2_BDP_PROBE).
// Threads: any.
void TellOfWindowsSeldom();

}  // namespace thinkwire::rpc
