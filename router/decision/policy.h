#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "router/decision/variant_view.h"
#include "router/decision/worker_view.h"
#include "router/task.h"

namespace thinkwire::router::decision {

// What the caller would like.
struct Wishes {
  double quality = 0;                 // the least, as a share of the best one's, [0, 1]
  bool asks_quality = false;          // whether the caller has said `quality`
  std::optional<double> latency_s{};  // until the answer is complete
  std::optional<double> max_cost{};   // in the configuration's units
  bool may_substitute = false;        // whether another may stand in for the named variant
};

// What one worker is believed to have of a request's prompt, as it has computed it for another.
struct CachedPrefix {
  std::size_t worker = 0;  // index into those that are given
  double bytes = 0;        // of the prompt, from its beginning
};

// What a policy may know of a request.
struct Query {
  std::string variant{};                 // name or alias; empty: the policy chooses
  std::optional<Task> task{};            // as the request says
  Task estimated_task = Task::kGeneral;  // by its text, where it says none
  std::size_t prompt_bytes = 0;
  bool thinks = true;                  // false: it answers at once
  std::int32_t outputs = 1;            // that are to be made, >= 1: each takes a place
  std::optional<double> max_tokens{};  // of the output, as the request says
  std::optional<double> deadline_s{};  // what is left until the call's deadline
  double waited_s = 0;                 // of its time, in the router's queue
  bool hurries = false;                // it thinks no longer than the deadline allows
  Wishes wishes{};
  // Workers that have the request in vain already, as indices into those that are given: none of
  // them is chosen again.
  std::vector<std::size_t> tried{};
  // Each worker once, and few: those that do not have any of the prompt are not here.
  std::vector<CachedPrefix> cached{};
};

// What a policy may know of the rest of the world.
struct View {
  std::span<const WorkerView> workers;
  std::span<const VariantView> variants;  // in the configuration's order
};

// Why a variant was chosen, in a word.
enum class Cause : std::uint8_t {
  kNamed,       // the request names it
  kSubstitute,  // for the named one, none of whose workers is live
  kOnly,        // there is no other
  kPreferred,   // the operator prefers it for the task
  kScore,       // the best of those that keep all limits
  kDeadline,    // none would be there before the deadline
  kContext,     // no context holds what the request may need
};
inline constexpr Cause kAllCauses[] = {Cause::kNamed,     Cause::kSubstitute, Cause::kOnly,
                                       Cause::kPreferred, Cause::kScore,      Cause::kDeadline,
                                       Cause::kContext};
// The word by which metrics and logs call it: "named".
std::string_view CauseName(Cause cause);

// Where a request goes, and why.
struct Decision {
  std::size_t variant = 0;
  std::size_t worker = 0;      // index into the workers that were given
  std::string variant_reason;  // for people: "named by the request"
  std::string worker_reason;   // for people: "the only live one: 0 queued, 2 running"
  Cause cause = Cause::kScore;
  LengthQuantiles expected_reasoning{};  // tokens; zeros where it answers at once
  double expected_wait_s = 0;            // until it has a place
  // After which the worker has one more place for requests like this one, while all are taken;
  // 0: its pace was never seen.
  double place_s = 0;
  double service_s = 0;  // that it takes then, likewise 0; as half of such requests do
  // As LimitBeside has them: of what `service_s` is to be left of its time when it begins, as many
  // times; how long it waits for a place at the worker, once it has left the queue for that; and
  // how many outputs of others the worker may have then, nullopt: as many as there are. `service_s`
  // is beside those.
  double patience = 2;
  double ahead_s = 0;
  std::optional<double> most_beside{};
  double expected_tokens = 0;     // prompt and output, likewise
  double prompt_tokens = 0;       // of these the prompt's, as estimated
  double cached_tokens = 0;       // of the prompt, that the worker is believed to have
  bool cached_elsewhere = false;  // it has none, but another is believed to
};

// What became of what was believed, in a word of metrics: "unknown" (nobody was believed to have
// any of the prompt), "elsewhere" (somebody was, but another was better), "hit" (the worker has
// half of what was believed, or more: `cached_tokens` is what it says), "miss".
std::string_view PrefixUse(const Decision& decision, double cached_tokens);

// Decides which variant answers a request, and which of its workers: one decision, so that a rule
// may weigh both.
//
// Pure: equal queries and equal workers give equal decisions, whatever else goes on. It may look at
// its arguments and at what it was made with, and at nothing else: no clock, no random number, no
// network. So it never blocks, and whoever calls it may hold a lock. It should take no longer than
// one look at each worker, O(workers), as every request pays for it.
// Threads: any.
class Policy {
 public:
  virtual ~Policy() = default;

  // Fails: NOT_FOUND no variant has that name. FAILED_PRECONDITION none has what is wished for.
  // UNAVAILABLE no worker of the variant is live, or none that was not tried, as NoLiveWorker says
  // it.
  virtual absl::StatusOr<Decision> Decide(const Query& query, const View& view) const = 0;
};

// What a policy answers where no worker of `variant`, called `name`, is live: UNAVAILABLE, with the
// reason of the first one.
absl::Status NoLiveWorker(const std::string& name, std::size_t variant,
                          std::span<const WorkerView> workers);

// The name of the variant that an error of NoLiveWorker is about; empty for every other error.
std::string UnavailableVariant(const absl::Status& status);

}  // namespace thinkwire::router::decision
