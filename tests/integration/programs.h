// Where the build has put what these tests start: absolute paths.
#pragma once

namespace thinkwire {

extern const char* const kBench;
extern const char* const kChat;
extern const char* const kRouter;
extern const char* const kWorker;
extern const char* const kWorkerWithFaults;  // knows --fault

// Libraries for LD_PRELOAD: names_preload.cc, wall_clock_preload.cc.
extern const char* const kNamesPreload;
extern const char* const kWallClockPreload;

}  // namespace thinkwire
