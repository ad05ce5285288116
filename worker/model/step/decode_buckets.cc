#include "worker/model/step/decode_buckets.h"

#include <algorithm>

namespace thinkwire::worker::model {
namespace {

std::int32_t After(std::int32_t bucket) {
  if (bucket < 8) return 2 * bucket;
  return bucket < 256 ? bucket + 8 : bucket + 64;
}

}  // namespace

std::vector<std::int32_t> DecodeBuckets(std::int32_t max_num_seqs) {
  std::vector<std::int32_t> buckets;
  for (std::int32_t bucket = 1; bucket < max_num_seqs; bucket = After(bucket)) {
    buckets.push_back(bucket);
  }
  buckets.push_back(max_num_seqs);
  return buckets;
}

bool IsDecodeOnly(const step::Plan& plan) {
  return std::ranges::all_of(plan.rows,
                             [](const step::Row& row) { return row.count == 1 && row.draws == 1; });
}

}  // namespace thinkwire::worker::model
