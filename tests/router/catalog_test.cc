#include "router/catalog.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "router/decision/experience.h"
#include "router/escalation.h"
#include "tests/router/decision/family.h"

namespace thinkwire::router {
namespace {

RouterConfig ConfigOf(const std::vector<std::string>& names) {
  RouterConfig config;
  for (const std::string& name : names) config.variants.push_back(decision::KnownVariant(name));
  return config;
}

std::shared_ptr<const Catalog> After(const Catalog& before, const std::vector<std::string>& names) {
  auto next = Catalog::After(before, ConfigOf(names));
  EXPECT_TRUE(next.ok()) << next.status();
  return *std::move(next);
}

// The configured ones, in the order that rules speak of, each with its index: "0a 1b".
std::string Shown(const Catalog& catalog) {
  std::string shown;
  for (const std::size_t i : catalog.configured()) {
    absl::StrAppend(&shown, shown.empty() ? "" : " ", i, catalog.variants()[i].name);
  }
  return shown;
}

absl::StatusOr<decision::Decision> Decide(const Catalog& catalog, const std::string& variant,
                                          const std::vector<decision::WorkerView>& workers) {
  const decision::Experience experience(catalog.variants());
  return catalog.policy().Decide({.variant = variant},
                                 {.workers = workers, .variants = experience.views()});
}

TEST(Catalog, ANameKeepsItsIndex) {
  const Catalog first(ConfigOf({"qwen-7b", "qwen-32b"}));
  EXPECT_EQ(Shown(first), "0qwen-7b 1qwen-32b");
  const auto second = After(first, {"llama-8b", "qwen-32b"});
  EXPECT_EQ(Shown(*second), "2llama-8b 1qwen-32b");
  EXPECT_FALSE(second->IsConfigured(0));
  const auto third = After(*second, {"qwen-32b", "qwen-7b", "llama-8b"});
  EXPECT_EQ(Shown(*third), "1qwen-32b 0qwen-7b 2llama-8b");
  EXPECT_EQ(third->variants().size(), 3u);
}

TEST(Catalog, WhatIsConfiguredNoMoreIsNotFoundAndAnswersNothing) {
  const Catalog first(ConfigOf({"qwen-7b", "qwen-32b"}));
  const auto second = After(first, {"qwen-32b"});
  const std::vector<decision::WorkerView> workers{decision::IdleWorker(0), decision::IdleWorker(1)};
  EXPECT_EQ(Decide(*second, "qwen-7b", workers).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Decide(*second, "qwen-7b", workers).status().message().find("there is qwen-32b"),
            std::string("no variant \"qwen-7b\" here; ").size());
  EXPECT_EQ(Decide(*second, "", workers)->variant, 1u);
  EXPECT_EQ(Decide(*second, "", workers)->cause, decision::Cause::kOnly);
}

// Requests keep their catalog, while workers of variants that it does not know come.
TEST(Catalog, AnEarlierOneTakesNoWorkerOfALaterVariant) {
  const Catalog first(ConfigOf({"qwen-7b"}));
  const auto second = After(first, {"qwen-7b", "qwen-32b"});
  const decision::Experience experience(second->variants());
  const std::vector<decision::WorkerView> workers{decision::IdleWorker(1), decision::IdleWorker(0)};
  const auto decision = first.policy().Decide({.cached = {{.worker = 0, .bytes = 100}}},
                                              {.workers = workers, .variants = experience.views()});
  ASSERT_TRUE(decision.ok()) << decision.status();
  EXPECT_EQ(decision->worker, 1u);
}

TEST(Catalog, WhereARequestBeginsAnewIsAsConfiguredLast) {
  RouterConfig config = ConfigOf({"qwen-7b", "qwen-32b"});
  config.variants[0].escalate_to = "qwen-32b";
  const Catalog first(config);
  EXPECT_EQ(BetterVariant(first.variants(), 0), 1u);
  const auto same = Catalog::After(first, config);
  EXPECT_EQ(BetterVariant((*same)->variants(), 0), 1u);
  config = ConfigOf({"llama-70b", "qwen-7b"});
  config.variants[1].escalate_to = "llama-70b";
  const auto other = Catalog::After(**same, config);
  EXPECT_EQ(BetterVariant((*other)->variants(), 0), 2u);
  EXPECT_EQ(BetterVariant(After(**other, {"qwen-7b", "llama-70b"})->variants(), 0), std::nullopt);
}

TEST(Catalog, NamesWithoutEndAreNotTaken) {
  auto catalog = std::make_shared<const Catalog>(ConfigOf({"first"}));
  for (std::size_t i = 1; i < Catalog::kMaxNames; ++i) {
    catalog = After(*catalog, {absl::StrCat("variant-", i)});
  }
  const auto one_more = Catalog::After(*catalog, ConfigOf({"one-more"}));
  EXPECT_EQ(one_more.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Shown(*After(*catalog, {"first"})), "0first");
}

}  // namespace
}  // namespace thinkwire::router
