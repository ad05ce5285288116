#pragma once

#include <memory>
#include <string>

#include "router/http/door.h"
#include "tests/router/http/http_client.h"
#include "tests/router/service_fixture.h"

namespace thinkwire::router::http {

inline constexpr char kChatPath[] = "/v1/chat/completions";

// The router of ReasoningServiceTest with a door.
class DoorTest : public ReasoningServiceTest {
 protected:
  // Again: with other options.
  void Open(Door::Options options = {}) {
    door_.reset();
    registry_ = std::make_unique<prometheus::Registry>();
    options.listen = "127.0.0.1:0";
    options.reader.efforts = *ReadEfforts("low=20,high=unlimited");
    auto door = Door::Open(options, intake(), *registry_);
    ASSERT_TRUE(door.ok()) << door.status();
    door_ = *std::move(door);
  }
  virtual Intake& intake() { return service_; }
  int port() const { return door_->port(); }

  Reply Chat(const std::string& more = "", const Fields& fields = {}) {
    return Ask(port(), "POST", kChatPath, ChatBody(more), fields);
  }
  static std::string ChatBody(const std::string& more = "") {
    return absl::StrCat(R"({"model":"qwen-1.5b","messages":[{"role":"user","content":"1+1?"}])",
                        more, "}");
  }
  // Of the one with these labels.
  double Requests(const std::string& endpoint, const std::string& status) {
    for (const auto& family : registry_->Collect()) {
      if (family.name != "thinkwire_router_http_requests_total") continue;
      for (const auto& metric : family.metric) {
        if (metric.label[0].value == endpoint && metric.label[1].value == status) {
          return metric.counter.value;
        }
      }
    }
    return 0;
  }

  std::unique_ptr<prometheus::Registry> registry_;
  std::unique_ptr<Door> door_;
};

}  // namespace thinkwire::router::http
