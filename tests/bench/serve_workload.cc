#include "tests/bench/serve_workload.h"

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

namespace thinkwire::bench {
namespace {

using Random = std::mt19937_64;

// Every vocabulary of the family has its single bytes, and nothing that ends an output, below.
constexpr std::int32_t kPlainIds = 256;

std::int32_t Number(Random& random, std::int32_t low, std::int32_t high) {
  return std::uniform_int_distribution<std::int32_t>(low, high)(random);
}

bool Happens(Random& random, const std::optional<float>& share) {
  return std::uniform_real_distribution<float>(0, 1)(random) < share.value_or(0);
}

// Of the kinds and sizes that deploy/models/tiny-r1 was trained for.
std::string Question(Random& random) {
  switch (Number(random, 0, 4)) {
    case 0:
      return absl::StrCat("What is ", Number(random, 0, 999), "+", Number(random, 0, 999), "?");
    case 1:
      return absl::StrCat("What is ", Number(random, 0, 999), " - ", Number(random, 0, 999), "?");
    case 2:
      return absl::StrCat("What is ", Number(random, 0, 99), " times ", Number(random, 0, 99), "?");
    case 3:
      return absl::StrCat("Which is larger, ", Number(random, 0, 999), " or ",
                          Number(random, 0, 999), "?");
    default:
      return absl::StrCat("Count to ", Number(random, 2, 30), ".");
  }
}

void AskQuestion(Random& random, v1::Prompt& prompt) {
  v1::ChatMessage& message = *prompt.mutable_chat()->add_messages();
  message.set_role(v1::ROLE_USER);
  message.set_content(Question(random));
}

void AddTokenIds(Random& random, std::int32_t count, v1::Prompt& prompt) {
  auto& ids = *prompt.mutable_token_ids()->mutable_ids();
  ids.Reserve(count);
  for (std::int32_t i = 0; i < count; ++i) ids.Add(Number(random, 0, kPlainIds - 1));
}

// Makes it one that the router, or the worker, must refuse.
void Spoil(Random& random, v1::GenerateRequest& request) {
  switch (Number(random, 0, 4)) {
    case 0:
      request.clear_prompt();
      break;
    case 1:
      request.mutable_answer_sampling()->set_temperature(3);
      break;
    case 2:
      request.set_max_tokens(0);
      break;
    case 3:
      request.mutable_prompt()->mutable_chat()->add_messages()->set_role(v1::ROLE_ASSISTANT);
      break;
    default:
      request.set_max_tokens(INT32_MAX);  // known to exceed the context by the worker alone
      break;
  }
}

}  // namespace

Workload::Workload(const ServeOptions& options, std::string variant)
    : options_(options), variant_(std::move(variant)) {}

PlannedRequest Workload::Plan(std::int64_t index) const {
  std::seed_seq seeds{static_cast<std::uint32_t>(options_.seed), static_cast<std::uint32_t>(index),
                      static_cast<std::uint32_t>(index >> 32)};
  Random random(seeds);
  PlannedRequest plan;
  v1::GenerateRequest& request = plan.request;
  request.set_variant(variant_);
  if (options_.prompt_tokens) {
    AddTokenIds(random, options_.prompt_tokens->Draw(random), *request.mutable_prompt());
  } else {
    AskQuestion(random, *request.mutable_prompt());
  }
  request.set_max_tokens(options_.max_tokens->Draw(random));
  request.set_ignore_eos(options_.ignore_eos);
  if (options_.temperature) {
    request.mutable_reasoning_sampling()->set_temperature(*options_.temperature);
    request.mutable_answer_sampling()->set_temperature(*options_.temperature);
  }
  request.set_seed(random());
  plan.bad = Happens(random, options_.bad_share);
  if (plan.bad) {
    Spoil(random, request);
  } else if (Happens(random, options_.cancel_share)) {
    plan.cancel_after_tokens = options_.cancel_after_tokens->Draw(random);
  }
  return plan;
}

}  // namespace thinkwire::bench
