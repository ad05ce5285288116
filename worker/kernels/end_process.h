#pragma once

namespace thinkwire::worker::kernels {

// Ends the process with exit code 70 (EX_SOFTWARE) and one line on stderr, which printf's `format`
// and its arguments give without the line's end. For a device or its libraries that failed: no
// destructor runs, as none could free anything in a lost context.
// Threads: any. A lost device is met by each thread that uses it or maps its memory: the first
// caller speaks, the others wait for the end.
[[noreturn]] [[gnu::format(printf, 1, 2)]] void EndProcess(const char* format, ...);

}  // namespace thinkwire::worker::kernels
