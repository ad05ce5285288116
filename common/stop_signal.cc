#include "common/stop_signal.h"

#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <initializer_list>

#include "common/log.h"

namespace thinkwire {
namespace {

struct Kept {
  const int signal;
  const char* const name;
  std::atomic<bool> came = false;
};

// A signal handler can reach nothing else.
sem_t something_came;
volatile sig_atomic_t first_stop = 0;
Kept kept[] = {{SIGHUP, "SIGHUP"}, {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void OnStopSignal(int signal) {
  if (first_stop != 0) _exit(128 + signal);
  first_stop = signal;
  sem_post(&something_came);
}

extern "C" void OnKeptSignal(int signal) {
  for (Kept& one : kept) {
    if (one.signal == signal) one.came = true;
  }
  sem_post(&something_came);
}

void Handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;  // whoever reads a file is not to know
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

void Unblock(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void HandleKept(const std::function<void()>& on_hangup) {
  for (Kept& one : kept) {
    if (!one.came.exchange(false)) continue;
    if (one.signal == SIGHUP && on_hangup) {
      on_hangup();
    } else {
      LogInfo("a signal that changes nothing", {{"signal", one.name}});
    }
  }
}

}  // namespace

void SurviveSignals() {
  sem_init(&something_came, 0, 0);
  for (const Kept& one : kept) Handle(one.signal, OnKeptSignal);
  for (const int ignored : {SIGPIPE, SIGXFSZ}) Handle(ignored, SIG_IGN);
  Unblock({SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2});
}

void CatchStopSignals() {
  for (const int signal : {SIGINT, SIGTERM}) Handle(signal, OnStopSignal);
}

int WaitForStopSignal(const std::function<void()>& on_hangup) {
  for (;;) {
    HandleKept(on_hangup);
    if (first_stop != 0) return first_stop;
    while (sem_wait(&something_came) != 0 && errno == EINTR) {
    }
  }
}

}  // namespace thinkwire
