#pragma once

#include <cstddef>

namespace thinkwire::rpc {

// From now on a server of gRPC closes each new connection whose client sends more than calls need
// (FrameGuard), and says so in the log; `header_bytes` are what it allows the headers of a call, of
// servers that differ the most. gRPC 1.51 has no such limits, and later ones have some (of its
// CVE-2023-33953, CVE-2024-7246). This file replaces the functions of gRPC's library that make a
// connection, read what has arrived, decrypted, and destroy it: each calls gRPC's own.
// Threads: any.
void LimitFrames(std::size_t header_bytes);

}  // namespace thinkwire::rpc
