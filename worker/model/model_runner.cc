#include "worker/model/model_runner.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <latch>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/mutex.h"
#include "common/status.h"
#include "worker/kernels/devices.h"
#include "worker/model/checkpoint_weights.h"
#include "worker/model/config.h"
#include "worker/model/fingerprint.h"
#include "worker/model/kv_cache.h"
#include "worker/model/random_weights.h"
#include "worker/model/rank.h"
#include "worker/model/rope.h"
#include "worker/model/tensor_parallel.h"
#include "worker/parallel/local_communicator.h"
#include "worker/parallel/local_step_channel.h"

namespace thinkwire::worker::model {
namespace {

using engine::RunnerLimits;
using engine::StepPlan;
using engine::StepResult;

// What the backends' KV layouts are built of.
constexpr std::int32_t kBlockTokensUnit = 16;

// One thread a rank, fed with plans through a StepChannel; rank 0 hands the results back.
class ThreadedRunner final : public ModelRunner {
 public:
  // Everything is checked: what can fail from here on ends the process.
  struct Parts {
    ModelConfig config;
    ModelInfo info;
    RunnerLimits limits;
    std::vector<std::unique_ptr<kernels::Backend>> backends;  // one a rank
  };

  // Returns when every rank has its weights. `source` is not used afterwards.
  ThreadedRunner(Parts parts, const WeightSource& source);
  ~ThreadedRunner() override;

  const ModelInfo& info() const override { return parts_.info; }
  const RunnerLimits& limits() const override { return parts_.limits; }
  void Submit(StepPlan plan) override;
  StepResult Collect() override;

 private:
  // What the ranks borrow while they load.
  struct Loading {
    const WeightSource& source;
    const std::vector<float> rope;
    std::latch done;
  };

  void RunRank(int rank, Loading& loading);
  void Publish(StepResult result) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  Parts parts_;
  std::vector<std::unique_ptr<parallel::Communicator>> communicators_;
  parallel::LocalStepChannel<StepPlan> channel_;
  std::vector<std::thread> threads_;

  // Engine thread only.
  std::int32_t in_flight_ = 0;
  std::uint64_t last_step_ = 0;

  // Summed over the ranks while they load.
  std::atomic<std::int64_t> weight_bytes_ = 0;
  std::atomic<std::int64_t> weight_bytes_per_token_ = 0;

  Mutex mu_;
  CondVar has_results_;
  std::deque<StepResult> results_ ABSL_GUARDED_BY(mu_);  // at most max_in_flight
};

ThreadedRunner::ThreadedRunner(Parts parts, const WeightSource& source)
    : parts_(std::move(parts)),
      communicators_(parallel::MakeLocalCommunicators(static_cast<int>(parts_.backends.size()))),
      channel_(static_cast<int>(parts_.backends.size()), parts_.limits.max_in_flight) {
  const int ranks = static_cast<int>(parts_.backends.size());
  Loading loading{source, RopeTable(parts_.config, parts_.limits.max_model_len), std::latch(ranks)};
  for (int rank = 0; rank < ranks; ++rank) {
    threads_.emplace_back([this, rank, &loading] { RunRank(rank, loading); });
  }
  loading.done.wait();
  parts_.info.weight_bytes = weight_bytes_;
  parts_.info.weight_bytes_per_token = weight_bytes_per_token_;
}

ThreadedRunner::~ThreadedRunner() {
  channel_.Close();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadedRunner::RunRank(int rank, Loading& loading) {
  const auto index = static_cast<std::size_t>(rank);
  const RankShape shape =
      ShapeOfRank(parts_.config, rank, static_cast<std::int32_t>(parts_.backends.size()));
  Rank computer(parts_.config, shape, parts_.limits, loading.source, loading.rope,
                *parts_.backends[index], *communicators_[index]);
  weight_bytes_ += computer.weights().bytes();
  weight_bytes_per_token_ += computer.weights().bytes_per_token();
  loading.done.count_down();
  while (const std::shared_ptr<const StepPlan> plan = channel_.Receive(rank)) {
    computer.Step(*plan);
    if (rank == 0) Publish(computer.Collect(*plan));
  }
}

void ThreadedRunner::Publish(StepResult result) {
  MutexLock lock(mu_);
  results_.push_back(std::move(result));
  has_results_.NotifyOne();
}

void ThreadedRunner::Submit(StepPlan plan) {
  CHECK(in_flight_ < parts_.limits.max_in_flight, "more plans in flight than allowed");
  CHECK(plan.step == last_step_ + 1, "a plan out of order");
  last_step_ = plan.step;
  ++in_flight_;
  channel_.Send(std::make_shared<const StepPlan>(std::move(plan)));
}

StepResult ThreadedRunner::Collect() {
  CHECK(in_flight_ > 0, "no plan is in flight");
  --in_flight_;
  MutexLock lock(mu_);
  while (results_.empty()) has_results_.Wait(mu_);
  StepResult result = std::move(results_.front());
  results_.pop_front();
  return result;
}

absl::Status CheckRange(absl::string_view name, std::int32_t value, std::int32_t low,
                        std::int32_t high, absl::string_view why = "") {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, "; allowed: ", low, " to ", high, why));
}

// Limits without num_blocks, or the first option that is out of range.
absl::StatusOr<RunnerLimits> ChooseLimits(const ModelOptions& options, const ModelConfig& config) {
  constexpr std::int32_t kMaxSlots = 4096;
  constexpr std::int32_t kMaxBatchedTokens = 1 << 16;
  constexpr std::int32_t kMaxBlockTokens = 256;
  constexpr std::int32_t kMaxInFlight = 8;
  const auto longest = static_cast<std::int32_t>(config.max_position_embeddings);
  const auto rows = static_cast<std::int32_t>(config.vocab_size);
  RunnerLimits limits;
  limits.max_num_seqs = options.max_num_seqs;
  limits.max_num_batched_tokens = options.max_num_batched_tokens;
  limits.max_model_len = options.max_model_len == 0 ? longest : options.max_model_len;
  limits.block_tokens = options.block_tokens;
  limits.max_in_flight = options.max_in_flight;
  limits.vocab_size = options.num_token_ids == 0 ? rows : options.num_token_ids;
  RETURN_IF_ERROR(CheckRange("max_num_seqs", limits.max_num_seqs, 1, kMaxSlots));
  RETURN_IF_ERROR(CheckRange("max_num_batched_tokens", limits.max_num_batched_tokens,
                             limits.max_num_seqs, kMaxBatchedTokens,
                             ", and no fewer than max_num_seqs"));
  RETURN_IF_ERROR(CheckRange("max_model_len", limits.max_model_len, 1, longest,
                             ", the model's max_position_embeddings"));
  RETURN_IF_ERROR(
      CheckRange("block_tokens", limits.block_tokens, kBlockTokensUnit, kMaxBlockTokens));
  if (limits.block_tokens % kBlockTokensUnit != 0) {
    return absl::InvalidArgumentError(absl::StrCat("block_tokens is ", limits.block_tokens,
                                                   "; allowed: multiples of ", kBlockTokensUnit));
  }
  RETURN_IF_ERROR(CheckRange("max_in_flight", limits.max_in_flight, 1, kMaxInFlight));
  RETURN_IF_ERROR(CheckRange("the tokenizer's number of ids", limits.vocab_size, 1, rows,
                             ", the model's vocab_size"));
  return limits;
}

absl::StatusOr<std::unique_ptr<WeightSource>> OpenWeights(const ModelOptions& options,
                                                          const ModelConfig& config) {
  if (options.random_weights) return std::make_unique<RandomWeights>(options.seed);
  ASSIGN_OR_RETURN(auto checkpoint, CheckpointWeights::Open(options.model_dir, config));
  return checkpoint;
}

// Blocks in the KV cache, after what the weights will take of the machine's memory.
absl::StatusOr<std::int32_t> ChooseBlocks(const ModelOptions& options, const ModelConfig& config,
                                          const RunnerLimits& limits, kernels::DType dtype) {
  const std::int32_t ranks = options.tensor_parallel_size;
  const KvLayout layout =
      GroupedQueryKvLayout(config, ShapeOfRank(config, 0, ranks), limits.block_tokens, dtype);
  const std::int64_t embedding_bytes = 2 * config.vocab_size * config.hidden_size;
  const std::int64_t weight_bytes = 2 * CountParameters(config) + (ranks - 1) * embedding_bytes;
  KvCacheDemand demand;
  demand.memory_bytes = options.kv_cache_memory_bytes;
  demand.block_bytes = layout.block_bytes() * ranks;
  demand.available_bytes = std::max<std::int64_t>(0, AvailableHostMemory() - weight_bytes);
  demand.block_tokens = limits.block_tokens;
  demand.max_num_seqs = limits.max_num_seqs;
  demand.max_model_len = limits.max_model_len;
  return ChooseNumBlocks(demand);
}

ModelInfo Describe(const ModelConfig& config, const RunnerLimits& limits,
                   const WeightSource& source, const std::string& device, std::int32_t ranks) {
  ModelInfo info;
  info.architecture = config.architecture;
  info.end_of_sequence_ids = config.end_of_sequence_ids;
  info.parameters = CountParameters(config);
  info.kv_cache_tokens = static_cast<std::int64_t>(limits.num_blocks) * limits.block_tokens;
  info.device = device;
  info.stored_weights = source.stored_as();
  const std::string architecture(
      std::pair<std::string, std::string>(absl::StrSplit(device, absl::MaxSplits(' ', 1))).first);
  info.fingerprint = Fingerprint(config, source, ranks, architecture);
  return info;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options) {
  ThreadedRunner::Parts parts;
  ASSIGN_OR_RETURN(parts.config, LoadModelConfig(options.model_dir));
  RETURN_IF_ERROR(CheckSplit(parts.config, options.tensor_parallel_size));
  ASSIGN_OR_RETURN(parts.limits, ChooseLimits(options, parts.config));
  ASSIGN_OR_RETURN(const std::unique_ptr<WeightSource> source, OpenWeights(options, parts.config));
  std::string error;
  parts.backends = kernels::OpenDevices(
      {options.device, options.tensor_parallel_size, options.cpu_threads}, &error);
  if (parts.backends.empty()) return absl::InvalidArgumentError(error);
  const kernels::Backend& device = *parts.backends.front();
  ASSIGN_OR_RETURN(parts.limits.num_blocks,
                   ChooseBlocks(options, parts.config, parts.limits, device.activation_dtype()));
  parts.info =
      Describe(parts.config, parts.limits, *source, device.name(), options.tensor_parallel_size);
  return std::make_unique<ThreadedRunner>(std::move(parts), *source);
}

}  // namespace thinkwire::worker::model
