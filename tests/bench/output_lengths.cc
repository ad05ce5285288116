#include "tests/bench/output_lengths.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <span>

namespace thinkwire::bench {
namespace {

struct Quantile {
  double share;
  double value;
};

constexpr Quantile kPromptTokens[] = {{0, 1},      {.01, 9},     {.05, 13},     {.1, 18},
                                      {.2, 29},    {.3, 57},     {.4, 113},     {.5, 208},
                                      {.6, 266},   {.7, 406},    {.8, 748},     {.9, 2092},
                                      {.95, 6714}, {.99, 23423}, {.999, 33783}, {1, 57284}};
constexpr Quantile kOutputTokens[] = {{0, 2},      {.01, 141},   {.05, 225},    {.1, 287},
                                      {.2, 387},   {.3, 470},    {.4, 582},     {.5, 792},
                                      {.6, 1104},  {.7, 1367},   {.8, 1680},    {.9, 3432},
                                      {.95, 5701}, {.99, 12607}, {.999, 20833}, {1, 32768}};
constexpr Quantile kReasoningShares[] = {
    {0, .1},    {.05, .319}, {.1, .361}, {.2, .441}, {.3, .569},  {.4, .689}, {.5, .764},
    {.6, .818}, {.7, .87},   {.8, .918}, {.9, .954}, {.95, .974}, {1, .998}};

double Draw(std::span<const Quantile> quantiles, std::mt19937_64& random) {
  const double share = std::uniform_real_distribution<double>(0, 1)(random);
  const auto above = std::ranges::find_if(quantiles.subspan(1),
                                          [=](const Quantile& one) { return one.share >= share; });
  const auto below = std::prev(above);
  const double part = (share - below->share) / (above->share - below->share);
  return std::exp(std::lerp(std::log(below->value), std::log(above->value), part));
}

}  // namespace

DrawnLengths DrawLengths(std::mt19937_64& random) {
  const double prompt = Draw(kPromptTokens, random);
  const double output = Draw(kOutputTokens, random);
  const double reasoning = output * Draw(kReasoningShares, random);
  return {.prompt = prompt, .reasoning = reasoning, .answer = output - reasoning};
}

MeanLengths MeanOfLengths() {
  constexpr int kDraws = 1'000'000;
  std::mt19937_64 random(1);
  MeanLengths mean;
  for (int i = 0; i < kDraws; ++i) {
    const DrawnLengths drawn = DrawLengths(random);
    mean.prompt += drawn.prompt / kDraws;
    mean.output += (drawn.reasoning + drawn.answer) / kDraws;
  }
  return mean;
}

}  // namespace thinkwire::bench
