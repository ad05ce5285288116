// door_bench: what the HTTP door adds to a small request, beside gRPC: to a router in this process,
// before a worker that answers at once with words that were written down, the same question by
// either in turn, whole from its first byte to its last.
//
// Usage: door_bench [REQUESTS]. Prints the times at the median and at the 90th percentile.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/check.h"
#include "tests/router/http/door_fixture.h"

namespace thinkwire::router::http {
namespace {

constexpr int kRequests = 4000;
constexpr int kWarmRequests = 200;

// In microseconds.
using Times = std::vector<double>;

double At(Times& times, double part) {
  std::ranges::sort(times);
  return times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1))];
}

class Bench final : public DoorTest {
 public:
  void Run(int requests) {
    Open();
    RawClient client(port());
    for (int i = 0; i < kWarmRequests; ++i) {
      AskGrpc();
      AskHttp(client);
    }
    Times grpc;
    Times http;
    for (int i = 0; i < requests; ++i) {
      grpc.push_back(Timed([&] { AskGrpc(); }));
      http.push_back(Timed([&] { AskHttp(client); }));
    }
    const double grpc_p50 = At(grpc, 0.5);
    const double http_p50 = At(http, 0.5);
    std::printf("gRPC: p50 %.0f us, p90 %.0f us\n", grpc_p50, At(grpc, 0.9));
    std::printf("HTTP: p50 %.0f us, p90 %.0f us\n", http_p50, At(http, 0.9));
    std::printf("the door adds %.0f us at the median of %d requests\n", http_p50 - grpc_p50,
                requests);
  }

 private:
  void TestBody() override {}

  template <class Function>
  static double Timed(const Function& function) {
    const auto begin = std::chrono::steady_clock::now();
    function();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
        .count();
  }
  void AskGrpc() {
    const absl::Status status = Generate(Question());
    CHECK(status.ok(), "the fake worker answers");
  }
  void AskHttp(RawClient& client) {
    client.Send(MakeRequestText("POST", kChatPath, ChatBody(R"(,"stream":true)")));
    CHECK(client.ReadUntil("0\r\n\r\n").find("[DONE]") != std::string::npos,
          "the fake worker answers");
  }
};

}  // namespace
}  // namespace thinkwire::router::http

int main(int argc, char** argv) {
  namespace http = thinkwire::router::http;
  const int requests = argc > 1 ? std::atoi(argv[1]) : http::kRequests;
  CHECK(requests > 0, "REQUESTS is a number above 0");
  http::Bench().Run(requests);
  return 0;
}
