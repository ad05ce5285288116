#include "tests/bench/serve_pacer.h"

#include <random>

namespace thinkwire::bench {
namespace {

// Keeps `concurrency` requests in flight.
class ClosedLoop final : public Pacer {
 public:
  explicit ClosedLoop(std::int32_t concurrency) : concurrency_(concurrency) {}

  std::optional<double> NextDue(double now, std::int32_t in_flight) override {
    if (in_flight >= concurrency_) return std::nullopt;
    return now;
  }
  void Advance() override {}

 private:
  const std::int32_t concurrency_;
};

// Sends `concurrency` requests at once whenever none is in flight.
class Waves final : public Pacer {
 public:
  explicit Waves(std::int32_t concurrency) : concurrency_(concurrency) {}

  std::optional<double> NextDue(double now, std::int32_t in_flight) override {
    if (in_wave_ == concurrency_ && in_flight == 0) in_wave_ = 0;
    if (in_wave_ == concurrency_) return std::nullopt;
    return now;
  }
  void Advance() override { ++in_wave_; }

 private:
  const std::int32_t concurrency_;
  std::int32_t in_wave_ = 0;
};

// Arrivals of a Poisson process: the times between them are exponential and know nothing of
// each other, nor of what is in flight.
class OpenLoop final : public Pacer {
 public:
  OpenLoop(double rate, std::uint32_t seed) : random_(seed), gap_(rate), due_(gap_(random_)) {}

  std::optional<double> NextDue(double /*now*/, std::int32_t /*in_flight*/) override {
    return due_;
  }
  void Advance() override { due_ += gap_(random_); }

 private:
  std::mt19937_64 random_;
  std::exponential_distribution<double> gap_;
  double due_;
};

}  // namespace

std::unique_ptr<Pacer> MakePacer(const ServeOptions& options) {
  if (options.rate) {
    return std::make_unique<OpenLoop>(*options.rate, static_cast<std::uint32_t>(options.seed));
  }
  if (options.in_waves) return std::make_unique<Waves>(options.concurrency);
  return std::make_unique<ClosedLoop>(options.concurrency);
}

}  // namespace thinkwire::bench
