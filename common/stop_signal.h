#pragma once

namespace thinkwire {

// From now on the first SIGINT or SIGTERM is kept for WaitForStopSignal; a second one ends the
// process at once. SIGPIPE is ignored: a closed log pipe must not end a server.
void CatchStopSignals();

// Blocks until the first signal has come. Returns its number.
int WaitForStopSignal();

}  // namespace thinkwire
