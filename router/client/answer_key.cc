#include "router/client/answer_key.h"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <string_view>
#include <utility>

#include "common/check.h"
#include "common/rpc/status_details.h"

namespace thinkwire::router::client {
namespace {

constexpr std::chrono::seconds kPatience{10};

}  // namespace

bool AnswerKey::CanBe() { return isatty(STDIN_FILENO) != 0; }

AnswerKey::AnswerKey(v1::ReasoningService::Stub& stub, const std::string& request_id)
    : stub_(stub) {
  request_.set_request_id(request_id);
  CHECK(pipe(ends_) == 0, "a program with a terminal may open two files more");
  thread_ = std::thread([this] { Run(); });
}

AnswerKey::~AnswerKey() {
  if (thread_.joinable()) static_cast<void>(End());
}

absl::Status AnswerKey::End() {
  close(std::exchange(ends_[1], -1));
  context_.TryCancel();
  thread_.join();
  close(std::exchange(ends_[0], -1));
  // Where the stream went on before the router answered, it was heard or not needed.
  return absl::IsCancelled(status_) ? absl::OkStatus() : status_;
}

void AnswerKey::Run() {
  if (!WaitForEnter()) return;
  context_.set_deadline(std::chrono::system_clock::now() + kPatience);
  v1::AnswerNowResponse response;
  status_ = rpc::FromGrpc(stub_.AnswerNow(&context_, request_, &response));
}

// False: it is to end.
bool AnswerKey::WaitForEnter() const {
  pollfd files[] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                    {.fd = ends_[0], .events = POLLIN, .revents = 0}};
  for (;;) {
    if (poll(files, 2, -1) < 0) continue;
    if (files[1].revents != 0) return false;
    char keys[256];
    const ssize_t size = read(STDIN_FILENO, keys, sizeof(keys));
    if (size <= 0) return false;  // the terminal is gone
    const std::string_view typed(keys, static_cast<std::size_t>(size));
    if (typed.find_first_of("\r\n") != typed.npos) return true;
  }
}

}  // namespace thinkwire::router::client
