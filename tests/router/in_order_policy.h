#pragma once

#include <algorithm>

#include "router/decision/policy.h"

namespace thinkwire::router {

// Gives each request to the first live worker of the only variant that it was not given to yet.
class InOrderPolicy final : public decision::Policy {
 public:
  absl::StatusOr<decision::Decision> Decide(const decision::Query& query,
                                            const decision::View& view) const override {
    for (std::size_t i = 0; i < view.workers.size(); ++i) {
      const bool is_tried = std::ranges::count(query.tried, i) > 0;
      if (!is_tried && view.workers[i].live()) {
        return decision::Decision{
            .worker = i, .variant_reason = "the only one", .worker_reason = "the first live one"};
      }
    }
    return decision::NoLiveWorker("qwen-7b", 0, view.workers);
  }
};

}  // namespace thinkwire::router
