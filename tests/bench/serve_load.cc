#include "tests/bench/serve_load.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"
#include "tests/bench/serve_pacer.h"
#include "tests/bench/serve_stream.h"

namespace thinkwire::bench {
namespace {

constexpr double kProgressSeconds = 1;
constexpr double kNever = std::numeric_limits<double>::infinity();

double CpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Owns: the streams in flight. Threads: all on Run's, but for what streams tell at their ends.
class Load {
 public:
  Load(const ServeOptions& options, const Workload& workload, v1::ReasoningService::Stub& stub,
       const std::function<void(const LoadProgress&)>& on_progress)
      : options_(options),
        workload_(workload),
        stub_(stub),
        on_progress_(on_progress),
        pacer_(MakePacer(options)),
        max_in_flight_(options.rate ? options.max_in_flight : options.concurrency) {
    shared_.origin = Clock::Real().Now();
    shared_.deadline = std::chrono::milliseconds(options.deadline_ms);
    shared_.keep_arrivals = options.in_waves;
    shared_.tokens = &tokens_;
    shared_.on_end = [this](StreamRecord record) {
      MutexLock lock(mu_);
      ended_.push_back(std::move(record));
      changed_.NotifyOne();
    };
  }

  LoadResult Run() {
    const double cpu_before = CpuSeconds();
    for (;;) {
      const double now = Now();
      TakeEnded();
      const double next_due = SendWhatIsDue(now);
      if (next_due == kNever && !sending_ && streams_.empty()) break;
      if (!sending_ && now >= give_up_) Abandon();
      if (now >= next_progress_) {
        TellProgress();
        next_progress_ = now + kProgressSeconds;
      }
      WaitUntil(std::min({next_due, next_progress_, sending_ || abandoned_ ? kNever : give_up_}));
    }
    progress_.over = true;
    TellProgress();
    result_.shed = progress_.shed;
    result_.seconds = Now();
    result_.cpu_seconds = CpuSeconds() - cpu_before;
    return std::move(result_);
  }

 private:
  double Now() const { return ToSeconds(Clock::Real().Now() - shared_.origin); }

  // Sends all that is due, and returns when the next is; kNever: not before something has ended, or
  // all are sent.
  double SendWhatIsDue(double now) {
    while (sending_) {
      if (AllSent(now)) {
        sending_ = false;
        give_up_ = now + options_.drain_s;
        break;
      }
      const std::int32_t in_flight = CountInFlight(now);
      const std::optional<double> due = pacer_->NextDue(now, in_flight);
      if (!due) return resting_.empty() ? stop_at_ : std::min(stop_at_, *resting_.begin());
      if (*due > now) return std::min(*due, stop_at_);
      if (in_flight >= max_in_flight_) {
        ++progress_.shed;
      } else {
        Send(*due);
      }
      pacer_->Advance();
      now = Now();
    }
    return kNever;
  }

  // A client of the closed loop that was refused comes again when it was told to, and keeps its
  // place until then.
  std::int32_t CountInFlight(double now) {
    resting_.erase(resting_.begin(), resting_.upper_bound(now));
    return static_cast<std::int32_t>(streams_.size() + resting_.size());
  }

  bool AllSent(double now) const {
    return progress_.sent + progress_.shed >= options_.requests || now >= stop_at_;
  }

  void Send(double due) {
    const std::int64_t index = progress_.sent++;
    auto stream = std::make_unique<ServeStream>(index, due, workload_.Plan(index), shared_);
    if (index == options_.warmup_requests && options_.duration_s) {
      stop_at_ = Now() + *options_.duration_s;
    }
    streams_.emplace(index, std::move(stream)).first->second->Start(stub_);
  }

  void TakeEnded() {
    std::vector<StreamRecord> ended;
    {
      MutexLock lock(mu_);
      ended.swap(ended_);
    }
    for (StreamRecord& record : ended) {
      streams_.erase(record.index);
      if (!options_.rate && record.come_again > 0) resting_.insert(record.come_again);
      ++progress_.ended[static_cast<std::size_t>(record.outcome)];
      progress_.violations += static_cast<std::int64_t>(record.violations.size());
      result_.records.push_back(std::move(record));
    }
  }

  void Abandon() {
    if (std::exchange(abandoned_, true)) return;
    for (const auto& [index, stream] : streams_) stream->Abandon();
  }

  void TellProgress() {
    progress_.seconds = Now();
    progress_.in_flight = static_cast<std::int32_t>(streams_.size());
    progress_.tokens = tokens_.load(std::memory_order_relaxed);
    on_progress_(progress_);
  }

  void WaitUntil(double time) {
    const auto left = std::chrono::duration<double>(time - Now());
    MutexLock lock(mu_);
    if (ended_.empty() && left.count() > 0) changed_.WaitFor(mu_, left);
  }

  const ServeOptions& options_;
  const Workload& workload_;
  v1::ReasoningService::Stub& stub_;
  const std::function<void(const LoadProgress&)>& on_progress_;
  const std::unique_ptr<Pacer> pacer_;
  const std::int32_t max_in_flight_;
  ServeStream::Shared shared_;
  std::atomic<std::int64_t> tokens_ = 0;

  std::multiset<double> resting_;  // until when
  std::unordered_map<std::int64_t, std::unique_ptr<ServeStream>> streams_;
  LoadProgress progress_;
  LoadResult result_;
  double next_progress_ = kProgressSeconds;
  double stop_at_ = kNever;  // then no more are sent
  bool sending_ = true;
  double give_up_ = kNever;  // then the last streams are abandoned; known once all are sent
  bool abandoned_ = false;

  Mutex mu_;
  CondVar changed_;
  std::vector<StreamRecord> ended_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

LoadResult RunLoad(const ServeOptions& options, const Workload& workload,
                   v1::ReasoningService::Stub& stub,
                   const std::function<void(const LoadProgress&)>& on_progress) {
  return Load(options, workload, stub, on_progress).Run();
}

}  // namespace thinkwire::bench
