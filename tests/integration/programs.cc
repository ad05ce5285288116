#include "tests/integration/programs.h"

namespace thinkwire {

const char* const kBench = THINKWIRE_BENCH;
const char* const kChat = THINKWIRE_CHAT;
const char* const kRouter = THINKWIRE_ROUTER;
const char* const kWorker = THINKWIRE_WORKER;
const char* const kWorkerWithFaults = THINKWIRE_WORKER_FAULTS;
const char* const kNamesPreload = THINKWIRE_NAMES;
const char* const kWallClockPreload = THINKWIRE_WALL_CLOCK;

}  // namespace thinkwire
