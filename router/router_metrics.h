#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Counter;
template <class T>
class Family;
class Gauge;
class Registry;
}  // namespace prometheus

namespace thinkwire::router {

// Tokens of one completed request, by kind.
struct TokenCounts {
  std::int32_t prompt = 0;
  std::int32_t reasoning = 0;
  std::int32_t answer = 0;
  std::int32_t discarded = 0;
};

// The router's metrics, thinkwire_router_*. Threads: any.
class RouterMetrics {
 public:
  // `registry` owns the metrics and must outlive this.
  RouterMetrics(prometheus::Registry& registry, const std::vector<std::string>& variant_names);

  void BeginRequest();
  // `code` is the gRPC status code's name; `variant` is empty where none was chosen.
  void EndRequest(std::string_view variant, std::string_view code, const TokenCounts& tokens);

  void SetLiveWorkers(std::size_t variant, std::int32_t workers);

 private:
  struct Tokens {
    std::string variant;
    prometheus::Counter *prompt, *reasoning, *answer, *discarded;
  };
  prometheus::Family<prometheus::Counter>* requests_;
  prometheus::Gauge* running_;
  std::vector<Tokens> tokens_;
  std::vector<prometheus::Gauge*> live_workers_;
};

}  // namespace thinkwire::router
