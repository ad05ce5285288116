#include "router/generation_registry.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

namespace thinkwire::router {
namespace {

// The registry never looks into a generation, so that anything alive will do.
std::shared_ptr<Generation> Alive() {
  auto anything = std::make_shared<int>();
  return {anything, reinterpret_cast<Generation*>(anything.get())};
}

bool IsEmpty(GenerationRegistry& registry) {
  return registry.WaitUntilEmpty(std::chrono::seconds(0));
}

TEST(GenerationRegistry, FindsWhatHasEnteredUntilItsEntryGoes) {
  GenerationRegistry registry;
  EXPECT_TRUE(IsEmpty(registry));
  const auto first = Alive();
  const auto second = Alive();
  auto first_entry = registry.Enter("one", first);
  {
    const auto second_entry = registry.Enter("two", second);
    EXPECT_EQ(registry.Find("one"), first);
    EXPECT_EQ(registry.Find("two"), second);
    EXPECT_EQ(registry.Find("three"), nullptr);
  }
  EXPECT_EQ(registry.Find("two"), nullptr);
  EXPECT_EQ(registry.Find("one"), first);
  EXPECT_FALSE(IsEmpty(registry));
  first_entry = {};
  EXPECT_EQ(registry.Find("one"), nullptr);
  EXPECT_TRUE(IsEmpty(registry));
}

TEST(GenerationRegistry, AnEntryThatMovesCountsOnce) {
  GenerationRegistry registry;
  const auto generation = Alive();
  GenerationRegistry::Entry entry;
  {
    auto made = registry.Enter("one", generation);
    GenerationRegistry::Entry moved = std::move(made);
    entry = std::move(moved);
  }
  EXPECT_EQ(registry.Find("one"), generation);
  EXPECT_FALSE(IsEmpty(registry));
  entry = {};
  EXPECT_TRUE(IsEmpty(registry));
}

TEST(GenerationRegistry, WhatIsBeingDestroyedIsNotFoundButWaitedFor) {
  GenerationRegistry registry;
  auto generation = Alive();
  const auto entry = registry.Enter("one", generation);
  generation.reset();
  EXPECT_EQ(registry.Find("one"), nullptr);
  EXPECT_FALSE(IsEmpty(registry));
}

}  // namespace
}  // namespace thinkwire::router
