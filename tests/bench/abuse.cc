// abuse_bench: clients that misbehave, each kind from an address of its own (127.0.0.11 and on), so
// that honest ones from 127.0.0.1 can be measured beside them (abuse_session.sh). It never fails by
// what the servers do to it; it says what it did.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/options.h"
#include "common/rpc/http2_frames.h"
#include "common/rpc/listener.h"
#include "tests/fakes/raw_http2.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::bench {
namespace {

constexpr char kGenerate[] = "/thinkwire.v1.ReasoningService/Generate";
constexpr char kCount[] = "/thinkwire.v1.ReasoningService/CountTokens";
constexpr char kHealthWatch[] = "/grpc.health.v1.Health/Watch";
constexpr char kWatch[] = "/thinkwire.v1.WorkerService/WatchStatus";

struct Settings {
  std::int32_t router = 50051;
  std::int32_t worker = 50061;
  std::int32_t router_metrics = 9401;
  std::int32_t worker_metrics = 9402;
  std::int32_t seconds = 60;
  std::string only;
  bool help = false;
};

std::vector<Option> Table(Settings& s) {
  return {
      {"router", &s.router, "gRPC port of a router on this machine", Between(1, 65535)},
      {"worker", &s.worker, "gRPC port of its worker", Between(1, 65535)},
      {"router_metrics", &s.router_metrics, "metrics port of the router", Between(1, 65535)},
      {"worker_metrics", &s.worker_metrics, "metrics port of the worker", Between(1, 65535)},
      {"seconds", &s.seconds, "how long, roughly", AtLeast(1)},
      {"only", &s.only, "one kind by its name; empty: all"},
      {"help", &s.help, "print this"},
  };
}

// What a kind of misbehaviour is given, and counts.
struct Scene {
  const Settings& settings;
  std::string source;
  std::chrono::steady_clock::time_point end;
  std::int64_t acts = 0;

  bool over() const { return std::chrono::steady_clock::now() >= end; }
  void Rest(std::chrono::milliseconds time) const {
    std::this_thread::sleep_until(std::min(end, std::chrono::steady_clock::now() + time));
  }
  RawHttp2::Options Dial(int port) const { return {.port = port, .source = source}; }
};

// Sends `bytes` on a connection of its own, and keeps it; what becomes of it does not matter.
rpc::FileDescriptor Say(const Scene& scene, int port, const std::string& bytes) {
  rpc::FileDescriptor connection(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, scene.source.c_str(), &address.sin_addr);
  bind(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  send(connection.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return connection;
}

std::string Question(std::int32_t max_tokens) {
  v1::GenerateRequest request;
  auto* message = request.mutable_prompt()->mutable_chat()->add_messages();
  message->set_role(v1::ROLE_USER);
  message->set_content("What is 27+48?");
  request.set_max_tokens(max_tokens);
  request.set_ignore_eos(true);
  return request.SerializeAsString();
}

std::string LongCount() {
  v1::CountTokensRequest request;
  auto* message = request.mutable_prompt()->mutable_chat()->add_messages();
  message->set_role(v1::ROLE_USER);
  std::string text;
  while (text.size() < (127U << 10)) absl::StrAppend(&text, "word", text.size(), " ");
  message->set_content(text);
  return request.SerializeAsString();
}

// A turn of nearly 2 MiB that the template drops.
std::string LargeQuestion() {
  v1::GenerateRequest request;
  auto* chat = request.mutable_prompt()->mutable_chat();
  auto* first = chat->add_messages();
  first->set_role(v1::ROLE_USER);
  first->set_content("What is 1+1?");
  auto* second = chat->add_messages();
  second->set_role(v1::ROLE_ASSISTANT);
  second->set_content("<think>" + std::string((2U << 20) - 4096, 'x') + "</think>2");
  auto* third = chat->add_messages();
  third->set_role(v1::ROLE_USER);
  third->set_content("What is 27+48?");
  return request.SerializeAsString();
}

// Connections that speak HTTP/2, answer pings, and ask for nothing.
void Idle(Scene& scene) {
  std::vector<std::unique_ptr<RawHttp2>> connections;
  while (!scene.over()) {
    std::erase_if(connections, [](const auto& connection) { return connection->closed(); });
    while (connections.size() < 700 && !scene.over()) {
      connections.push_back(std::make_unique<RawHttp2>(scene.Dial(scene.settings.router)));
      ++scene.acts;
    }
    for (const auto& connection : connections) connection->Read({});
    scene.Rest(std::chrono::seconds(1));
  }
}

void Watch(Scene& scene) {
  RawHttp2 worker(scene.Dial(scene.settings.worker));
  RawHttp2 router(scene.Dial(scene.settings.router));
  while (!scene.over()) {
    for (int i = 0; i < 300; ++i) {
      worker.Call(kWatch, "");
      router.Call(kHealthWatch, "");
      scene.acts += 2;
    }
    for (int i = 0; i < 10 && !scene.over(); ++i) {
      worker.Read({});
      router.Read({});
      scene.Rest(std::chrono::seconds(1));
    }
  }
}

void ReadNothing(Scene& scene) {
  RawHttp2::Options options = scene.Dial(scene.settings.router);
  options.window = 0;
  while (!scene.over()) {
    RawHttp2 client(options);
    for (int i = 0; i < 16; ++i, ++scene.acts) client.Call(kGenerate, Question(2000));
    for (int i = 0; i < 70 && !scene.over(); ++i) {
      client.Read({});
      scene.Rest(std::chrono::seconds(1));
    }
  }
}

void ReadATrickle(Scene& scene) {
  RawHttp2::Options options = scene.Dial(scene.settings.router);
  options.window = 120;
  options.reopens_windows = false;
  while (!scene.over()) {
    RawHttp2 client(options);
    std::vector<std::uint32_t> calls;
    for (int i = 0; i < 16; ++i, ++scene.acts) {
      calls.push_back(client.Call(kGenerate, Question(2000)));
    }
    for (int i = 0; i < 4 && !scene.over(); ++i) {
      scene.Rest(std::chrono::seconds(30));
      client.Read({});
      for (const std::uint32_t call : calls) client.OpenWindow(call, 120);
    }
  }
}

// Calls whose message never comes.
void HalfOpen(Scene& scene) {
  while (!scene.over()) {
    RawHttp2 client(scene.Dial(scene.settings.router));
    for (int i = 0; i < 1000 && !client.closed(); ++i, ++scene.acts) client.OpenCall(kGenerate);
    for (int i = 0; i < 40 && !scene.over(); ++i) {
      client.Read({});
      scene.Rest(std::chrono::seconds(1));
    }
  }
}

void Reset(Scene& scene) {
  while (!scene.over()) {
    RawHttp2 client(scene.Dial(scene.settings.router));
    for (int i = 0; i < 1000 && !client.closed(); ++i, ++scene.acts) {
      client.Reset(client.Call(kGenerate, Question(10)));
      client.Read({});
    }
    scene.Rest(std::chrono::milliseconds(500));
  }
}

// Large questions whose answers nobody reads.
void HoldBytes(Scene& scene) {
  const std::string question = LargeQuestion();
  while (!scene.over()) {
    std::vector<std::unique_ptr<RawHttp2>> clients;
    for (int i = 0; i < 16 && !scene.over(); ++i, ++scene.acts) {
      clients.push_back(std::make_unique<RawHttp2>(scene.Dial(scene.settings.router)));
      clients.back()->Call(kGenerate, question);
    }
    scene.Rest(std::chrono::seconds(20));
  }
}

void CountMuch(Scene& scene) {
  const std::string count = LongCount();
  while (!scene.over()) {
    RawHttp2 client(scene.Dial(scene.settings.router));
    std::vector<std::uint32_t> calls;
    for (int i = 0; i < 200 && !scene.over(); ++i, ++scene.acts) {
      calls.push_back(client.Call(kCount, count));
    }
    client.ReadUntilOver(calls.back(), std::chrono::seconds(10));
    scene.Rest(std::chrono::seconds(5));
  }
}

void AskHalfForMetrics(Scene& scene) {
  while (!scene.over()) {
    std::vector<rpc::FileDescriptor> sockets;
    for (const int port : {scene.settings.router_metrics, scene.settings.worker_metrics}) {
      for (int i = 0; i < 100; ++i, ++scene.acts) {
        sockets.push_back(Say(scene, port, "GET /metrics HT"));
      }
    }
    scene.Rest(std::chrono::seconds(3));
  }
}

void TalkNonsense(Scene& scene) {
  while (!scene.over()) {
    RawHttp2 client(scene.Dial(scene.settings.router));
    client.Call(kGenerate, "\xff\xff\xff nonsense");
    client.Call("/no.such.Service/Method", "x");
    client.Call(kGenerate, Question(-1));
    client.Call(kGenerate, Question(10), {{"grpc-timeout", "-5S"}});
    client.ReadUntilOver(client.Call(kGenerate, ""), std::chrono::seconds(5));
    Say(scene, scene.settings.router, std::string(1 << 16, 'x'));
    scene.acts += 6;
    scene.Rest(std::chrono::milliseconds(200));
  }
}

// Clients that go away without a word while they are answered.
void Vanish(Scene& scene) {
  while (!scene.over()) {
    RawHttp2 client(scene.Dial(scene.settings.router));
    for (int i = 0; i < 8; ++i, ++scene.acts) client.Call(kGenerate, Question(2000));
    client.Read({});
    scene.Rest(std::chrono::seconds(1));
  }
}

// Frames that are no calls, as fast as they are read, on one connection after another: SETTINGS,
// and headers without an end, of one name that both sides know (RFC 7541, 6.1).
void SendFrames(Scene& scene) {
  using enum rpc::http2::FrameType;
  const std::string names(700, '\x8f');
  const RawHttp2::Frame block{.type = kHeaders, .stream = 1, .payload = names};
  const RawHttp2::Frame floods[] = {{.type = kSettings},
                                    {.type = kContinuation, .stream = 1, .payload = names}};
  for (int round = 0; !scene.over(); ++round) {
    RawHttp2 client(scene.Dial(round % 2 == 0 ? scene.settings.router : scene.settings.worker));
    client.ReadUntil([&] { return client.max_streams() > 0; }, std::chrono::seconds(5));
    const RawHttp2::Frame& flood = floods[round / 2 % 2];
    if (flood.type == kContinuation) client.SendFrame(block);
    for (; !client.closed() && !scene.over(); ++scene.acts) {
      client.SendFrame(flood);
      if (scene.acts % 100 == 0) client.Read({});
    }
  }
}

struct Kind {
  const char* name;
  void (*run)(Scene& scene);
};
constexpr Kind kKinds[] = {{"idle", Idle},
                           {"watch", Watch},
                           {"read_nothing", ReadNothing},
                           {"read_a_trickle", ReadATrickle},
                           {"half_open", HalfOpen},
                           {"reset", Reset},
                           {"hold_bytes", HoldBytes},
                           {"count_much", CountMuch},
                           {"metrics", AskHalfForMetrics},
                           {"nonsense", TalkNonsense},
                           {"vanish", Vanish},
                           {"frames", SendFrames}};

void RunAll(const Settings& settings) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(settings.seconds);
  std::vector<Scene> scenes;
  std::vector<std::thread> threads;
  scenes.reserve(std::size(kKinds));
  for (std::size_t i = 0; i < std::size(kKinds); ++i) {
    Scene& scene = scenes.emplace_back(
        Scene{.settings = settings, .source = absl::StrCat("127.0.0.", 11 + i), .end = end});
    if (!settings.only.empty() && settings.only != kKinds[i].name) continue;
    threads.emplace_back([run = kKinds[i].run, &scene] { run(scene); });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < std::size(kKinds); ++i) {
    std::printf("%s: %lld\n", kKinds[i].name, static_cast<long long>(scenes[i].acts));
  }
}

int Main(std::span<const char* const> arguments) {
  Settings settings;
  const std::vector<Option> table = Table(settings);
  const auto rest = ParseOptions(arguments, table);
  if (!rest.ok() || !rest->empty()) {
    std::fprintf(stderr, "abuse_bench: %s\n",
                 rest.ok() ? "takes options alone" : std::string(rest.status().message()).c_str());
    return 78;
  }
  if (settings.help) {
    std::fputs(DescribeOptions(table).c_str(), stdout);
    return 0;
  }
  RunAll(settings);
  return 0;
}

}  // namespace
}  // namespace thinkwire::bench

int main(int argc, char** argv) {
  return thinkwire::bench::Main({argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)});
}
