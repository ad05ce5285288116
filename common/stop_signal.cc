#include "common/stop_signal.h"

#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

namespace thinkwire {
namespace {

// A signal handler can reach nothing else.
sem_t stop_asked;
volatile sig_atomic_t first_signal = 0;

extern "C" void OnStopSignal(int signal) {
  if (first_signal != 0) _exit(128 + signal);
  first_signal = signal;
  sem_post(&stop_asked);
}

}  // namespace

void CatchStopSignals() {
  sem_init(&stop_asked, 0, 0);
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int WaitForStopSignal() {
  while (sem_wait(&stop_asked) != 0 && errno == EINTR) {
  }
  return first_signal;
}

}  // namespace thinkwire
