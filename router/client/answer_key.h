#pragma once

#include <grpcpp/client_context.h>

#include <string>
#include <thread>

#include "absl/status/status.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::router::client {

// Enter at the terminal of stdin, for as long as this lives: has a request answer now, once. Other
// keys that are typed meanwhile are lost.
// Owns: a thread. Threads: one makes and ends it.
class AnswerKey {
 public:
  // Whether stdin is a terminal.
  static bool CanBe();

  // REQUIRES: CanBe; one at a time. `stub`, of the request's router, outlives it.
  AnswerKey(v1::ReasoningService::Stub& stub, const std::string& request_id);
  // Does not wait for an answer of the router.
  ~AnswerKey();
  AnswerKey(const AnswerKey&) = delete;
  AnswerKey& operator=(const AnswerKey&) = delete;

  // Waits no more. Whether it was pressed and the router said no; OK: neither. Once.
  absl::Status End();

 private:
  void Run();
  bool WaitForEnter() const;

  v1::ReasoningService::Stub& stub_;
  v1::AnswerNowRequest request_;
  grpc::ClientContext context_;
  int ends_[2] = {-1, -1};  // a pipe that is closed at the end
  absl::Status status_;     // of the thread, until it has ended
  std::thread thread_;
};

}  // namespace thinkwire::router::client
