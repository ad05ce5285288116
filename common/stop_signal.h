#pragma once

#include <functional>

namespace thinkwire {

// Of a server: from now on SIGHUP, SIGUSR1 and SIGUSR2 are kept for WaitForStopSignal instead of
// ending the process; SIGPIPE and SIGXFSZ are ignored, as a log pipe that was closed and a log file
// that has reached its limit must not end it. Whatever of these and of the stop signals the parent
// process had blocked comes through again.
void SurviveSignals();

// From now on the first SIGINT or SIGTERM is kept for WaitForStopSignal; a second one ends the
// process at once. REQUIRES: SurviveSignals.
void CatchStopSignals();

// Blocks until the first signal of CatchStopSignals has come. Returns its number. Meanwhile calls
// `on_hangup`, if there is one, for SIGHUP, once for those that come while it runs; of each other
// signal that was kept, and as it comes, it writes a log record.
int WaitForStopSignal(const std::function<void()>& on_hangup = nullptr);

}  // namespace thinkwire
