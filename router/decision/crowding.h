#pragma once

namespace thinkwire::router::decision {

// How much slower a worker's streams are the more of them it has, learnt from those that have
// ended:
//   seconds a token = alone * (1 + growth * busy),   busy = (streams - 1) / places, in [0, 1)
// A GPU's streams are hardly slower together than alone (growth 0 to 1); those of a CPU, whose
// steps take as long as their rows, take as many times as long as there are (growth = places).
//
// By least squares over the latest twenty or so, pulled towards what growth was before: where all
// of them met the same load it stays as it is. It is 1 at first, and never less: what a stream
// would gain from a worker that has fewer is not to be waited for on the strength of noise.
// It is about one worker at different loads: what workers are told apart by is the mean that
// LearnPace keeps, which noise in growth does not reach. Memory is constant. Threads: one at a
// time.
class Crowding {
 public:
  // A stream has taken so many seconds a token at a worker that was so `busy`.
  void Learn(double busy, double seconds_per_token, double places);

  double alone_s() const { return alone_s_; }  // a token, by the latest few; 0: none was seen
  double growth() const { return growth_; }
  // Streams that always met others show little of what one takes alone: if growth were as large as
  // it can be, it were this part of what is believed. 1 where they met none.
  double LeastAlone(double places) const;
  // By how much a stream is slower than alone.
  double Slowdown(double busy) const { return 1 + growth_ * busy; }

 private:
  double alone_s_ = 0;
  double growth_ = 1;
  // Sums over the streams, of which older ones count less.
  double number_ = 0;
  double busy_ = 0;
  double busy_squares_ = 0;
  double seconds_ = 0;
  double busy_seconds_ = 0;
};

}  // namespace thinkwire::router::decision
