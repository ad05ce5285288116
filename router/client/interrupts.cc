#include "router/client/interrupts.h"

#include <grpcpp/client_context.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>
#include <utility>

namespace thinkwire::router::client {

Interrupts::Interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([this, signals] {
    for (;;) {
      int signal = 0;
      if (sigwait(&signals, &signal) == 0) OnSignal(signal);
    }
  }).detach();
}

void Interrupts::KeepGoing(std::function<void()> before_end) {
  MutexLock lock(mu_);
  keeps_going_ = true;
  before_end_ = std::move(before_end);
}

void Interrupts::Begin(grpc::ClientContext& context) {
  MutexLock lock(mu_);
  running_ = &context;
  interrupted_ = false;
}

bool Interrupts::End() {
  MutexLock lock(mu_);
  running_ = nullptr;
  return interrupted_;
}

void Interrupts::OnSignal(int signal) {
  MutexLock lock(mu_);
  const bool stays = keeps_going_ && signal == SIGINT;
  if (!stays && (running_ == nullptr || interrupted_ || keeps_going_)) {
    if (before_end_) before_end_();
    _exit(128 + signal);
  }
  if (running_ == nullptr) return;
  interrupted_ = true;
  running_->TryCancel();
}

}  // namespace thinkwire::router::client
