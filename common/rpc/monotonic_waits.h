#pragma once

namespace thinkwire::rpc {

// From now on no wait of this process ends by the wall clock. gRPC 1.51 times all that it does -
// keepalive, handshakes, deadlines, connecting again - by waits of Abseil 20220623, which last
// until a time of the wall clock: set back by an hour, it holds gRPC's timers up for as long.
// Abseil waits by syscall(2) of the C library, which this file replaces, in that one case, by the
// same wait for a time of the monotonic clock. Newer Abseil waits so by itself.
// Threads: any.
void WaitByMonotonicClock();

}  // namespace thinkwire::rpc
