#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "router/decision/policy.h"
#include "router/variant_config.h"

namespace thinkwire::router::decision {

// A live worker with 16 places and nothing to do.
inline WorkerView IdleWorker(std::size_t variant, std::string address = "a:1") {
  return {.variant = variant,
          .address = std::move(address),
          .status = WorkerStatus{.max_model_len = 131'072,
                                 .max_num_seqs = 16,
                                 .free_kv_blocks = 100,
                                 .total_kv_blocks = 100},
          .seconds_per_token = 0.02,
          .prompt_tokens_per_s = 5000};
}

inline VariantConfig KnownVariant(std::string name) {
  const VariantTraits traits = KnownTraits(name);
  return {.name = std::move(name), .workers = {"a:1"}, .traits = traits};
}

// What is expected of a variant before anything was seen.
inline VariantView FreshView(const VariantConfig& variant) {
  VariantView view{.bytes_per_token = 4, .reasoning = variant.traits.reasoning};
  view.answer.values.fill({300, 1000});
  return view;
}

inline std::vector<VariantView> FreshViews(const std::vector<VariantConfig>& variants) {
  std::vector<VariantView> views;
  for (const VariantConfig& variant : variants) views.push_back(FreshView(variant));
  return views;
}

}  // namespace thinkwire::router::decision
