#include "worker/kernels/add_pairwise.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

namespace thinkwire::worker::kernels {
namespace {

// How `count` terms from `first` on are added, in brackets.
std::string Sum(std::size_t count, std::size_t first = 0) {
  std::vector<std::string> sums(SumsOfPairs(count));
  AddPairwise(
      count, [&](std::size_t i, std::size_t at) { sums.at(at) = std::to_string(first + i); },
      [&](std::size_t to, std::size_t from) {
        EXPECT_EQ(to + 1, from);
        sums.at(to) = "(" + sums.at(to) + "+" + sums.at(from) + ")";
      });
  return sums[0];
}

TEST(AddPairwiseTest, AddsNeighboursThenTheirSums) {
  EXPECT_EQ(Sum(1), "0");
  EXPECT_EQ(Sum(2), "(0+1)");
  EXPECT_EQ(Sum(3), "((0+1)+2)");
  EXPECT_EQ(Sum(4), "((0+1)+(2+3))");
  EXPECT_EQ(Sum(6), "(((0+1)+(2+3))+(4+5))");
  EXPECT_EQ(Sum(7), "(((0+1)+(2+3))+((4+5)+6))");
  EXPECT_EQ(Sum(8), "(((0+1)+(2+3))+((4+5)+(6+7)))");
}

// What the header says of ranks that hold several terms each.
TEST(AddPairwiseTest, SumsOfNeighboursAreBranchesOfTheWhole) {
  for (const std::size_t ranks : {1, 2, 4, 8}) {
    const std::size_t each = 8 / ranks;
    std::vector<std::string> sums(SumsOfPairs(ranks));
    AddPairwise(
        ranks, [&](std::size_t i, std::size_t at) { sums[at] = Sum(each, i * each); },
        [&](std::size_t to, std::size_t from) {
          sums[to] = "(" + sums[to] + "+" + sums[from] + ")";
        });
    EXPECT_EQ(sums[0], Sum(8)) << ranks;
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
