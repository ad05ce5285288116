// relay_bench: what it costs to pass a stream's messages on (relay_session.sh). `worker` is a fake
// worker that speaks to each call at a pace or as fast as it is read; `load` reads many such
// streams through a router, through another proxy or straight from the worker, and prints what
// came, how old it was, and what CPU time the process in between took for it.

#include <cstdio>
#include <cstring>
#include <span>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/options.h"
#include "tests/bench/relay_load.h"
#include "tests/bench/relay_worker.h"

namespace thinkwire::bench {
namespace {

constexpr int kExitConfig = 78;  // EX_CONFIG

// Options into `table`; false: the command is over with `code`.
bool Read(std::span<const char* const> arguments, std::span<const Option> table, const bool& help,
          int& code) {
  const auto rest = ParseOptions(arguments, table);
  if (rest.ok() && rest->empty() && !help) return true;
  code = rest.ok() && help ? 0 : kExitConfig;
  const std::string why = !rest.ok()       ? std::string(rest.status().message())
                          : !rest->empty() ? absl::StrCat("'", rest->front(), "' is no option")
                                           : DescribeOptions(table);
  std::fprintf(code == 0 ? stdout : stderr, "%s\n", why.c_str());
  return false;
}

int RunWorker(std::span<const char* const> arguments) {
  RelayWorkerOptions options;
  bool help = false;
  const Option table[] = {
      {"listen", &options.listen, "host:port; port 0: a free one"},
      {"rate", &options.rate, "messages a second of each call, of one token each; 0: as it is read",
       Between(0, 1000)},
      {"together", &options.together,
       "all calls' messages at one time, as an engine's step brings "
       "them, instead of spread over the time"},
      {"help", &help, "print this"},
  };
  int code = 0;
  return Read(arguments, table, help, code) ? RunRelayWorker(options) : code;
}

int RunLoad(std::span<const char* const> arguments) {
  RelayLoadOptions options;
  bool help = false;
  const Option table[] = {
      {"target", &options.target, "host:port that the calls go to"},
      {"streams", &options.streams, "calls at once", Between(1, 4096)},
      {"connections", &options.connections, "that these share", Between(1, 1024)},
      {"seconds", &options.seconds, "how long is measured", Between(1, 3600)},
      {"warmup_s", &options.warmup_s, "how long before that", Between(0, 3600)},
      {"rest_ms", &options.rest_ms, "between two reads of a stream; 0: it is read at once",
       Between(0, 60'000)},
      {"pid", &options.pid, "whose CPU time is measured; 0: nobody's", AtLeast(0)},
      {"help", &help, "print this"},
  };
  int code = 0;
  return Read(arguments, table, help, code) ? RunRelayLoad(options) : code;
}

int Main(std::span<const char* const> arguments) {
  SetLogLevel(LogLevel::kInfo);
  if (!arguments.empty() && std::strcmp(arguments[0], "worker") == 0) {
    return RunWorker(arguments.subspan(1));
  }
  if (!arguments.empty() && std::strcmp(arguments[0], "load") == 0) {
    return RunLoad(arguments.subspan(1));
  }
  std::fputs("usage: relay_bench worker|load [OPTION...]; --help\n", stderr);
  return kExitConfig;
}

}  // namespace
}  // namespace thinkwire::bench

int main(int argc, char** argv) {
  return thinkwire::bench::Main({argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)});
}
