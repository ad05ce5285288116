#pragma once

#include <string>

namespace prometheus {
class Counter;
template <class T>
class Family;
class Gauge;
class Registry;
}  // namespace prometheus

namespace thinkwire::router::http {

// thinkwire_router_http_*. Threads: any.
class DoorMetrics {
 public:
  // `registry` owns the metrics and must outlive this.
  explicit DoorMetrics(prometheus::Registry& registry);

  // A request that is over: to an endpoint as the door names it, so that they are few, and with
  // which status; 499: its client went before there was one.
  void CountRequest(const std::string& endpoint, int status);

  prometheus::Gauge& connections() { return *connections_; }
  prometheus::Counter& refused() { return *refused_; }
  prometheus::Counter& displaced() { return *displaced_; }

 private:
  prometheus::Family<prometheus::Counter>* const requests_;
  prometheus::Gauge* const connections_;
  prometheus::Counter* const refused_;
  prometheus::Counter* const displaced_;
};

}  // namespace thinkwire::router::http
