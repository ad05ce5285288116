#include "common/rpc/window_updates.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/server_call.h"
#include "tests/common/rpc/dial.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::rpc {
namespace {

// Between one client and a server: carries what they send, and counts the words on windows of
// streams among what the client does.
class Tap {
 public:
  explicit Tap(int server) : listener_(*Listener::Listen({.address = "127.0.0.1:0"})) {
    listener_->StartWatching([this, server](FileDescriptor client) {
      if (thread_.joinable()) return;
      thread_ = std::thread([this, client = std::move(client), server] {
        const FileDescriptor far = Dial(server);
        Carry(client, far);
      });
    });
  }
  ~Tap() {
    listener_->Stop();
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }

  int port() const { return listener_->port(); }
  int window_updates() const { return window_updates_; }

 private:
  void Carry(const FileDescriptor& client, const FileDescriptor& server) {
    std::array<pollfd, 2> ends{{{.fd = client.get(), .events = POLLIN, .revents = 0},
                                {.fd = server.get(), .events = POLLIN, .revents = 0}}};
    std::array<char, 65536> bytes{};
    while (!over_) {
      poll(ends.data(), ends.size(), 20);
      for (std::size_t i = 0; i < 2; ++i) {
        if ((ends[i].revents & POLLIN) == 0) continue;
        const ssize_t got = recv(ends[i].fd, bytes.data(), bytes.size(), 0);
        if (got <= 0) return;
        const std::string_view came(bytes.data(), static_cast<std::size_t>(got));
        if (i == 0) Count(came);
        Send(ends[1 - i].fd, came);
      }
    }
  }
  static void Send(int to, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
      } else {
        pollfd room{.fd = to, .events = POLLOUT, .revents = 0};
        poll(&room, 1, 20);
      }
    }
  }
  // RFC 9113, 4.1 and 6.9.
  void Count(std::string_view bytes) {
    constexpr std::size_t kPreface = 24;
    constexpr std::size_t kHeader = 9;
    constexpr char kWindowUpdate = 8;
    frames_.append(bytes);
    if (!begun_ && frames_.size() >= kPreface) {
      frames_.erase(0, kPreface);
      begun_ = true;
    }
    const auto byte = [this](std::size_t at) { return static_cast<unsigned char>(frames_[at]); };
    while (begun_ && frames_.size() >= kHeader) {
      const std::size_t size = std::size_t{byte(0)} << 16 | std::size_t{byte(1)} << 8 | byte(2);
      if (frames_.size() < kHeader + size) return;
      const bool of_stream = (byte(5) | byte(6) | byte(7) | byte(8)) != 0;
      if (frames_[3] == kWindowUpdate && of_stream) ++window_updates_;
      frames_.erase(0, kHeader + size);
    }
  }

  std::atomic<bool> over_ = false;
  std::atomic<int> window_updates_ = 0;
  std::string frames_;  // the thread's: not yet counted
  bool begun_ = false;
  std::thread thread_;
  const std::unique_ptr<Listener> listener_;
};

// Its streams say what a test does.
class SpeakingService final : public RawService {
 public:
  SpeakingService() {
    AddMethod(v1::WorkerService::service_full_name(), "Generate",
              [this](const grpc::CallbackServerContext& /*context*/) {
                return std::make_shared<Call>(*this);
              });
  }
  // The one stream, once it has begun.
  std::shared_ptr<ServerCall> stream() { return begun_.get_future().get(); }

 private:
  class Call final : public ServerCall {
   public:
    explicit Call(SpeakingService& service) : ServerCall(16), service_(service) {}

   private:
    void OnMessage(grpc::ByteBuffer /*message*/) override {
      service_.begun_.set_value(shared_from_this());
    }
    SpeakingService& service_;
  };
  std::promise<std::shared_ptr<ServerCall>> begun_;
};

class WindowUpdatesTest : public testing::Test {
 protected:
  WindowUpdatesTest() {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    reader_ = stub_->Generate(&context_, v1::WorkerGenerateRequest());
    stream_ = service_.stream();
  }
  ~WindowUpdatesTest() override {
    context_.TryCancel();
    reader_->Finish();
    stream_.reset();
  }

  // One message of so many bytes, which the client reads.
  void Speak(std::size_t bytes) {
    v1::WorkerGenerateResponse message;
    message.mutable_event()->mutable_answer_delta()->set_text(std::string(bytes, 'x'));
    ASSERT_TRUE(stream_->Write(message));
    v1::WorkerGenerateResponse read;
    ASSERT_TRUE(reader_->Read(&read));
    ASSERT_EQ(read.event().answer_delta().text().size(), bytes);
  }

  SpeakingService service_;
  std::unique_ptr<GrpcServer> server_ =
      *GrpcServer::Start({.listen = "127.0.0.1:0", .services = {&service_}});
  Tap tap_{server_->port()};
  std::unique_ptr<v1::WorkerService::Stub> stub_ =
      v1::WorkerService::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", tap_.port())));
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WorkerGenerateResponse>> reader_;
  std::shared_ptr<ServerCall> stream_;
};

TEST_F(WindowUpdatesTest, AReaderOfSmallMessagesSaysNothingAtEach) {
  for (int i = 0; i < 200; ++i) Speak(20);
  EXPECT_LE(tap_.window_updates(), 2);
}

// However much is read, and however large a message is beside the window, the peer can go on.
TEST_F(WindowUpdatesTest, NobodyWaitsForAWindowForEver) {
  for (int i = 0; i < 2000; ++i) Speak(1000);
  for (const std::size_t bytes : {15'000, 16'300, 16'400, 40'000, 66'000, 100'000, 20}) {
    for (int i = 0; i < 20; ++i) Speak(bytes);
  }
  EXPECT_GT(tap_.window_updates(), 10);
}

}  // namespace
}  // namespace thinkwire::rpc
