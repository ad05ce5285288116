// A worker that takes requests, says that they have begun, and nothing more: for idle_streams.py.
// Prints its port, and ends with its standard input.
// Usage: idle_worker NAME

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "tests/fakes/fake_worker.h"

namespace {

constexpr int kPlaces = 4096;
constexpr int kStatusIntervalMs = 500;

// Its input has ended; waits for that until it is time to tell the status again.
bool MustEnd() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return poll(&input, 1, kStatusIntervalMs) != 0;
}

}  // namespace

int main(int argc, char** argv) {
  thinkwire::FakeWorker worker(argc > 1 ? argv[1] : "idle");
  const std::vector<thinkwire::v1::GenerateResponse> events = thinkwire::SmallStream();
  worker.SetScript({.events = {events[0], events[1], events[2]}, .stays_open = true});
  std::printf("%s\n", worker.address().c_str());
  std::fflush(stdout);
  do {
    worker.SetStatus([](auto& status) { status.set_max_num_seqs(kPlaces); });
  } while (!MustEnd());
  return 0;
}
