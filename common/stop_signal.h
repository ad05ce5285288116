#pragma once

namespace thinkwire {

// Of a server: from now on SIGHUP, SIGUSR1 and SIGUSR2, for which there is nothing to do yet, are
// kept for WaitForStopSignal instead of ending the process; SIGPIPE and SIGXFSZ are ignored, as a
// log pipe that was closed and a log file that has reached its limit must not end it. Whatever of
// these and of the stop signals the parent process had blocked comes through again.
void SurviveSignals();

// From now on the first SIGINT or SIGTERM is kept for WaitForStopSignal; a second one ends the
// process at once. REQUIRES: SurviveSignals.
void CatchStopSignals();

// Blocks until the first signal of CatchStopSignals has come. Returns its number. Writes a log
// record for each other one that was kept, and as it comes.
int WaitForStopSignal();

}  // namespace thinkwire
