#include "tests/bench/affinity_simulation.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "router/decision/completion_estimate.h"
#include "router/decision/experience.h"
#include "router/decision/score_policy.h"
#include "router/fleet/prefix_index.h"
#include "tests/bench/conversations.h"
#include "tests/bench/statistics.h"
#include "worker/engine/request_check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::bench {
namespace {

using router::decision::Decision;
using router::decision::PromptMarks;
using router::decision::WorkerView;
using worker::engine::Scheduler;
using worker::engine::TokenStream;

constexpr std::size_t kWorkers = 4;
constexpr std::int32_t kSlots = 64;
constexpr double kReportSeconds = 0.1;  // between two words of a worker
constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kMinMeasuredTokens = 256;  // of a prompt, for the worker's rate

worker::step::Limits LimitsOf(const AffinityLoad& load) {
  return {.max_num_seqs = kSlots,
          .max_num_batched_tokens = 512,
          .max_model_len = 32'768,
          .block_tokens = 16,
          .num_blocks = load.num_blocks,
          .max_in_flight = 1,
          .vocab_size = kConversationVocab};
}

Clock::TimePoint At(double seconds) {
  return Clock::TimePoint(
      std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(seconds)));
}

// One turn on its way through a worker.
struct Asked {
  std::shared_ptr<Conversation> conversation;
  std::size_t worker = 0;
  PromptMarks marks{};
  double arrival_s = 0;
  double started_s = 0;
  double first_s = 0;  // 0: not yet
  std::int32_t cached = 0;
  std::int32_t drawn = 0;
  std::shared_ptr<TokenStream> stream{};
};

// One worker's engine, against the common clock.
class SimulatedEngine {
 public:
  explicit SimulatedEngine(const AffinityLoad& load)
      : limits_(LimitsOf(load)), scheduler_({.end_of_sequence_ids = {}}, limits_) {}

  const Scheduler& scheduler() const { return scheduler_; }
  double step_ends_s() const { return step_ends_s_; }

  void Add(std::uint64_t handle, const std::shared_ptr<Asked>& asked, double now_s,
           std::function<void()> on_ready) {
    worker::engine::Request request;
    const Conversation& conversation = *asked->conversation;
    request.peer = conversation.peer();
    request.cache_salt = conversation.peer();
    request.prompt_ids = conversation.ids();
    request.max_tokens = conversation.turn().reasoning + conversation.turn().answer;
    asked->stream = std::make_shared<TokenStream>(*request.max_tokens, std::move(on_ready));
    const std::int32_t max_tokens = worker::engine::CheckRequest(request, limits_).value();
    scheduler_.Add(handle, std::move(request), max_tokens, asked->stream);
    if (!plan_) Begin(now_s);
  }

  // Gives up on everybody.
  void Stop() {
    scheduler_.EndAll(worker::engine::EndReason::kCancelled);
    while (plan_) EndStep();
  }

  // The step that ends now.
  void EndStep() {
    const double now_s = step_ends_s_;
    worker::step::Result result{.step = plan_->step};
    for (const worker::step::Row& row : plan_->rows) {
      if (row.draws == 0) continue;
      const auto first = static_cast<std::int32_t>(result.ids.size());
      result.rows.push_back({.slot = row.slot, .first_id = first, .num_ids = 1});
      result.ids.push_back(1);
    }
    plan_.reset();
    step_ends_s_ = kNever;
    scheduler_.Apply(result, At(now_s));
    Begin(now_s);
  }

 private:
  void Begin(double now_s) {
    worker::step::Plan plan = scheduler_.Plan(At(now_s));
    if (plan.rows.empty()) return;
    std::int32_t inputs = 0;
    for (const worker::step::Row& row : plan.rows) inputs += row.count;
    step_ends_s_ = now_s + 0.0053 + inputs * 26.4e-6;
    plan_ = std::move(plan);
  }

  const worker::step::Limits limits_;
  Scheduler scheduler_;
  std::optional<worker::step::Plan> plan_;
  double step_ends_s_ = kNever;
};

// The router's side.
class Chooser {
 public:
  explicit Chooser(Routing routing) : routing_(routing) {
    views_.resize(kWorkers);
    for (std::size_t i = 0; i < kWorkers; ++i) {
      views_[i].status = router::decision::WorkerStatus{
          .max_model_len = 32'768, .max_num_seqs = kSlots, .max_queue = 1'024};
    }
  }

  std::size_t Choose(const Conversation& conversation, const PromptMarks& marks) {
    const std::size_t worker = Find(conversation, marks);
    ++views_[worker].leased;
    ++views_[worker].given;
    return worker;
  }
  void Begun(const Asked& asked) {
    const double share =
        static_cast<double>(asked.cached) / static_cast<double>(asked.conversation->ids().size());
    index_.Learn(asked.marks, Life(asked.worker), share * static_cast<double>(asked.marks.bytes));
  }
  void Ended(const Asked& asked, double now_s) {
    const Conversation::Turn& turn = asked.conversation->turn();
    const auto prompt = static_cast<std::int32_t>(asked.conversation->ids().size());
    const std::int32_t computed = prompt - asked.cached;
    const double prompt_s = asked.first_s - asked.started_s;
    WorkerView& view = views_[asked.worker];
    LearnPace((now_s - asked.first_s) / (turn.reasoning + turn.answer - 1),
              computed >= kMinMeasuredTokens ? computed / prompt_s : 0, view);
    --view.leased;
    experience_.Learn({.prompt_bytes = static_cast<double>(asked.marks.bytes),
                       .prompt_tokens = static_cast<double>(prompt),
                       .reasoning_tokens = static_cast<double>(turn.reasoning),
                       .answer_tokens = static_cast<double>(turn.answer)});
  }
  void Report(std::size_t worker, const Scheduler& scheduler) {
    views_[worker].status->queued = scheduler.queued();
    views_[worker].status->running = scheduler.running();
    views_[worker].status->free_kv_blocks = scheduler.pool().free();
  }
  // Of the busiest, over the mean; 1 where nobody has anything.
  double MostLoad() const {
    double most = 0;
    double sum = 0;
    for (const WorkerView& view : views_) {
      most = std::max(most, static_cast<double>(view.leased));
      sum += static_cast<double>(view.leased);
    }
    return sum > 0 ? most * kWorkers / sum : 1;
  }

 private:
  static std::uint32_t Life(std::size_t worker) { return static_cast<std::uint32_t>(worker) + 1; }

  std::size_t Find(const Conversation& conversation, const PromptMarks& marks) const {
    if (routing_ == Routing::kLeastLoaded) {
      const auto least = std::ranges::min_element(views_, {}, [](const WorkerView& view) {
        return std::make_pair(view.leased, view.given);
      });
      return static_cast<std::size_t>(least - views_.begin());
    }
    if (routing_ == Routing::kConsistent) {
      return conversation.name() * 0x9e3779b97f4a7c15 % (1'000 * kWorkers) / 1'000;
    }
    router::decision::Query query{.prompt_bytes = marks.bytes};
    if (routing_ == Routing::kAffinity) {
      for (const auto& known : index_.Find(marks)) {
        query.cached.push_back({.worker = known.life - 1, .bytes = known.bytes});
      }
    }
    return policy_.Decide(query, {.workers = views_, .variants = experience_.views()})->worker;
  }

  const Routing routing_;
  const std::vector<router::VariantConfig> variants_ = {
      {.name = "llama-8b", .workers = {}, .traits = router::KnownTraits("llama-8b")}};
  const router::decision::ScorePolicy policy_{variants_};
  router::decision::Experience experience_{variants_};
  std::vector<WorkerView> views_;
  router::fleet::PrefixIndex index_;
};

class Simulation {
 public:
  explicit Simulation(const AffinityLoad& load)
      : load_(load), conversations_(load.turns_per_s, load.seed), chooser_(load.routing) {
    for (std::size_t i = 0; i < kWorkers; ++i) {
      engines_.push_back(std::make_unique<SimulatedEngine>(load));
    }
    Schedule(0, nullptr);
  }

  AffinityOutcome Run() {
    while (ended_ < load_.turns) Advance();
    stopped_ = true;
    for (const auto& engine : engines_) engine->Stop();
    return Summarize();
  }

 private:
  // A turn to come; null: a new conversation.
  struct Coming {
    double at_s = 0;
    std::uint64_t serial = 0;  // so that equal times have an order
    std::shared_ptr<Conversation> conversation{};
    bool operator>(const Coming& other) const {
      return std::tie(at_s, serial) > std::tie(other.at_s, other.serial);
    }
  };

  void Schedule(double at_s, std::shared_ptr<Conversation> conversation) {
    coming_.push({at_s, ++last_serial_, std::move(conversation)});
  }

  // To whatever happens next.
  void Advance() {
    const auto next = std::ranges::min_element(
        engines_, {}, [](const auto& engine) { return engine->step_ends_s(); });
    const double step_s = (*next)->step_ends_s();
    const double event_s = std::min(coming_.top().at_s, step_s);
    if (report_s_ <= event_s) return Report();
    now_s_ = event_s;
    if (step_s <= coming_.top().at_s) {
      (*next)->EndStep();
    } else {
      Arrive();
    }
  }

  void Report() {
    for (std::size_t i = 0; i < kWorkers; ++i) chooser_.Report(i, engines_[i]->scheduler());
    most_loads_.push_back(chooser_.MostLoad());
    report_s_ += kReportSeconds;
  }

  void Arrive() {
    std::shared_ptr<Conversation> conversation = coming_.top().conversation;
    coming_.pop();
    if (!conversation) {
      conversation = std::make_shared<Conversation>(conversations_.Draw());
      Schedule(now_s_ + conversations_.DrawGap(), nullptr);
    }
    if (!conversation->Ask()) return;
    auto asked = std::make_shared<Asked>();
    asked->conversation = conversation;
    asked->arrival_s = now_s_;
    asked->marks = conversation->Marks();
    asked->worker = chooser_.Choose(*conversation, asked->marks);
    engines_[asked->worker]->Add(++last_handle_, asked, now_s_, [this, asked] { Take(*asked); });
  }

  void Take(Asked& asked) {
    if (stopped_) return asked.stream.reset();
    const TokenStream::Batch batch = asked.stream->Take();
    if (batch.started) {
      asked.started_s = now_s_;
      asked.cached = batch.cached_prompt_tokens;
      chooser_.Begun(asked);
    }
    if (!batch.tokens.empty() && asked.drawn == 0) asked.first_s = now_s_;
    asked.drawn += static_cast<std::int32_t>(batch.tokens.size());
    if (batch.ending) End(asked);
  }

  void End(Asked& asked) {
    chooser_.Ended(asked, now_s_);
    if (++ended_ > load_.turns / 5) Count(asked);
    Schedule(now_s_ + asked.conversation->turn().pause_s, asked.conversation);
    asked.stream.reset();
  }

  void Count(const Asked& asked) {
    const Conversation& conversation = *asked.conversation;
    prompt_tokens_ += static_cast<double>(conversation.ids().size());
    cached_tokens_ += asked.cached;
    if (!conversation.is_first()) {
      later_s_.push_back(asked.first_s - asked.arrival_s);
      // Of the turn before alone: a system prompt that all have is no return.
      if (asked.cached > conversation.tokens_of_turn_before() - 32) ++returned_;
    }
    first_s_.push_back(asked.first_s - asked.arrival_s);
    total_s_.push_back(now_s_ - asked.arrival_s);
  }

  AffinityOutcome Summarize() const {
    double most = 0;
    for (const double load : most_loads_) most += load / static_cast<double>(most_loads_.size());
    return {.cached = cached_tokens_ / prompt_tokens_,
            .returned = returned_ / static_cast<double>(later_s_.size()),
            .median_s = Median(first_s_),
            .p99_s = Quantile(first_s_, 0.99),
            .later_p99_s = Quantile(later_s_, 0.99),
            .total_p99_s = Quantile(total_s_, 0.99),
            .most_load = most};
  }

  const AffinityLoad load_;
  Conversations conversations_;
  Chooser chooser_;
  std::vector<std::unique_ptr<SimulatedEngine>> engines_;
  std::priority_queue<Coming, std::vector<Coming>, std::greater<>> coming_;
  std::uint64_t last_serial_ = 0;
  std::uint64_t last_handle_ = 0;
  double now_s_ = 0;
  double report_s_ = 0;
  std::int32_t ended_ = 0;
  bool stopped_ = false;

  double prompt_tokens_ = 0;
  double cached_tokens_ = 0;
  std::int32_t returned_ = 0;
  std::vector<double> first_s_;
  std::vector<double> later_s_;
  std::vector<double> total_s_;
  std::vector<double> most_loads_;
};

}  // namespace

AffinityOutcome SimulateAffinity(const AffinityLoad& load) {
  CHECK(load.turns >= 100, "turns enough to count");
  return Simulation(load).Run();
}

}  // namespace thinkwire::bench
