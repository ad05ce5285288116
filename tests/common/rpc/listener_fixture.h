#pragma once

#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/listener.h"
#include "tests/common/rpc/dial.h"

namespace thinkwire::rpc {

// Waits until the peer ends the connection. Whether by a reset.
inline bool EndsInReset(const FileDescriptor& connection) {
  std::array<char, 1> byte{};
  const ssize_t got = recv(connection.get(), byte.data(), byte.size(), 0);
  EXPECT_LE(got, 0);
  return got < 0 && errno == ECONNRESET;
}

// Waits until the peer ends the connection, without a reset.
inline bool EndsInOrder(const FileDescriptor& connection) {
  std::array<char, 1> byte{};
  return recv(connection.get(), byte.data(), byte.size(), 0) == 0;
}

// A listener of few connections, and who serves them.
class ListenerTest : public testing::Test {
 protected:
  static constexpr int kLimit = 3;

  void SetUp() override {
    auto listener = Listener::Listen({.address = "127.0.0.1:0",
                                      .max_connections = kLimit,
                                      .connections = &connections_,
                                      .refused = &refused_,
                                      .displaced = &displaced_,
                                      .rest = rest_});
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    Start();
  }
  virtual void Start() {
    listener_->StartWatching([this](FileDescriptor connection) { Serve(std::move(connection)); });
  }
  void Serve(FileDescriptor connection) {
    MutexLock lock(mu_);
    served_.push_back(std::move(connection));
    changed_.NotifyAll();
  }

  FileDescriptor Dial(const char* source = "127.0.0.1") const {
    return rpc::Dial(listener_->port(), source);
  }
  ConnectionTable::Call BeginCall(const FileDescriptor& client) const {
    return listener_->connections().BeginCall(NameOf(client));
  }

  void AwaitServed(std::size_t count) {
    MutexLock lock(mu_);
    while (served_.size() < count) changed_.Wait(mu_);
    EXPECT_EQ(served_.size(), count);
  }

  // gRPC's name of its client, who is still there.
  std::string LastServed() {
    MutexLock lock(mu_);
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    EXPECT_EQ(getpeername(served_.back().get(), reinterpret_cast<sockaddr*>(&peer), &size), 0);
    return PeerName(peer);
  }

  // The gauge is all that tells of an end.
  void AwaitConnections(double count) const {
    while (connections_.Value() != count) std::this_thread::yield();
  }

  Clock::Duration rest_ = kResetHalfLife;
  prometheus::Gauge connections_;
  prometheus::Counter refused_;
  prometheus::Counter displaced_;
  Mutex mu_;
  CondVar changed_;
  std::vector<FileDescriptor> served_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Listener> listener_;
};

}  // namespace thinkwire::rpc
