// Clients that go at any byte of what they send or read, by every API that generates: nothing of
// theirs is left.

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/test_ca.h"
#include "tests/router/http/apis.h"
#include "tests/router/http/door_fixture.h"
#include "tests/router/http/tls_client.h"

namespace thinkwire::router::http {
namespace {

constexpr int kClients = 150;
constexpr int kTlsClients = 60;
constexpr int kDeltas = 40;
constexpr char kWhole[] = R"(,"stream":false)";
constexpr char kStreamed[] = R"(,"stream":true)";

class ClosingTest : public DoorTest {
 protected:
  ClosingTest() {
    std::vector<v1::GenerateResponse> events = SmallStream();
    const v1::GenerateResponse delta = events[4];
    events.insert(events.begin() + 4, kDeltas, delta);
    events[kDeltas + 5].mutable_finished()->mutable_tokens()->set_answer_tokens(kDeltas + 2);
    events[kDeltas + 6].mutable_completed()->mutable_usage()->set_answer_tokens(kDeltas + 2);
    small_.SetScript({.events = events});
  }
  ~ClosingTest() override { door_.reset(); }  // which watches the folder

  // The sum over a metric's labels.
  double Sum(prometheus::Registry& registry, const std::string& name) {
    double sum = 0;
    for (const auto& family : registry.Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) sum += metric.gauge.value + metric.counter.value;
    }
    return sum;
  }
  bool FallsToZero(prometheus::Registry& registry, const std::string& name) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (Sum(registry, name) != 0) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      std::this_thread::yield();
    }
    return true;
  }
  // One that asks somehow, and goes.
  template <class Client>
  void AskAndGo(std::mt19937& random) {
    const auto one_of = [&](std::size_t number) {
      return std::uniform_int_distribution<std::size_t>(0, number)(random);
    };
    const Api& api = kApis[one_of(kApis.size() - 1)];
    const std::string stream = one_of(1) == 0 ? kWhole : kStreamed;
    const std::string request =
        MakeRequestText("POST", api.path, BodyFor(api, stream), {{"Connection", "close"}});
    Client client(port(), one_of(1) == 0 ? 2048 : 0);
    const bool sends_all = one_of(3) > 0;
    client.Send(std::string_view(request).substr(0, sends_all ? request.npos : one_of(400)));
    std::size_t left = sends_all ? one_of(12'000) : 0;
    while (left > 0) {
      const std::size_t bytes = client.ReadSome(left).size();
      if (bytes == 0) break;
      left -= bytes;
    }
    client.Close(/*abruptly=*/one_of(1) == 0);
  }
  // So many, of which nothing is left.
  template <class Client>
  void AskAndGoOften(int clients) {
    const unsigned seed = std::random_device()();
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    for (int i = 0; i < clients; ++i) AskAndGo<Client>(random);
    EXPECT_TRUE(FallsToZero(*registry_, "thinkwire_router_http_connections"));
    EXPECT_TRUE(service_.WaitUntilIdle(std::chrono::minutes(1)));
    EXPECT_TRUE(FallsToZero(metrics_registry_, "thinkwire_router_running_requests"));
    EXPECT_TRUE(FallsToZero(metrics_registry_, "thinkwire_router_waiting_requests"));
  }

  TlsFolder folder_;
};

TEST_F(ClosingTest, ClientsThatGoAnywhereLeaveNothing) {
  Open();
  AskAndGoOften<RawClient>(kClients);
  for (const Api& api : kApis) {
    for (const char* stream : {kWhole, kStreamed}) {
      const Reply reply = Ask(port(), "POST", api.path, BodyFor(api, stream));
      EXPECT_EQ(reply.status, 200) << api.path << ": " << reply.body;
    }
  }
}

TEST_F(ClosingTest, ClientsOfTlsThatGoAnywhereLeaveNothing) {
  const TestCa ca("test CA");
  Open({.tls = folder_.Write("server", ca.Issue())});
  AskAndGoOften<TlsClient>(kTlsClients);
  TlsClient client(port());
  client.Send(MakeRequestText("POST", kChat.path, BodyFor(kChat), {{"Connection", "close"}}));
  EXPECT_EQ(ParseReply(client.ReadToEnd()).status, 200);
}

}  // namespace
}  // namespace thinkwire::router::http
