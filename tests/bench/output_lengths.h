#pragma once

#include <random>

namespace thinkwire::bench {

// How much DeepSeek-R1 reads and says for one request, as it was served to the public: quantiles of
// 1.4 million requests of 73 clients over a day, by ServeGen ("ServeGen: Workload Characterization
// and Generation of Large Language Model Serving in Production", arXiv:2505.09999), whose data
// folder reason/deepseek-r1 has them by client and quarter of the day; here they are weighted by
// the clients' rates. Between two quantiles the logarithm is taken for linear. How long prompt and
// output are is drawn apart, as the data has them.
struct DrawnLengths {
  double prompt = 0;  // tokens
  double reasoning = 0;
  double answer = 0;
};
DrawnLengths DrawLengths(std::mt19937_64& random);

// Of both, in tokens: what a fleet must be able to do. By a million draws of a fixed seed.
struct MeanLengths {
  double prompt = 0;
  double output = 0;
};
MeanLengths MeanOfLengths();

}  // namespace thinkwire::bench
