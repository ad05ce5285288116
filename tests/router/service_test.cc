#include "router/service.h"

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/status_details.h"
#include "common/trace_context.h"
#include "tests/fakes/stderr_log.h"
#include "tests/router/service_fixture.h"

namespace thinkwire::router {
namespace {

using EventCase = v1::GenerateResponse::EventCase;

// Without its flags.
constexpr char kSpanOfClient[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";

TEST_F(ReasoningServiceTest, PassesAllEventsOnInOrder) {
  Events events;
  ASSERT_TRUE(Generate(Question(), &events).ok());
  const Events sent = SmallStream();
  ASSERT_EQ(events.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(events[i].event_case(), sent[i].event_case());
  }
  EXPECT_EQ(events[2].reasoning_delta().SerializeAsString(),
            sent[2].reasoning_delta().SerializeAsString());
  const v1::Started& started = events[1].started();
  EXPECT_EQ(started.variant(), "qwen-1.5b");
  EXPECT_EQ(started.worker(), small_.address());
  EXPECT_EQ(started.variant_reason(), "named by the request");
  EXPECT_EQ(started.worker_reason(), "the only live one: 0 queued, 0 running");
  EXPECT_EQ(started.request_id(), small_.last_call().request.request_id());
  EXPECT_EQ(started.prompt_tokens(), 3);
  EXPECT_TRUE(events[6].completed().timings().has_total());
}

TEST_F(ReasoningServiceTest, GoesByNameAndTask) {
  v1::GenerateRequest request = Question();
  request.set_variant("deepseek-r1:32b");
  Events events;
  ASSERT_TRUE(Generate(request, &events).ok());
  EXPECT_EQ(events[1].started().variant(), "qwen-32b");

  request = Question();
  request.clear_variant();
  request.mutable_wishes()->set_task(v1::TASK_MATH);
  events.clear();
  ASSERT_TRUE(Generate(request, &events).ok());
  EXPECT_EQ(events[1].started().variant_reason(), "preferred for the task math");
}

TEST_F(ReasoningServiceTest, GoesByWishesAndRefusesThoseThatNobodyKeeps) {
  v1::GenerateRequest request = Question();
  request.clear_variant();
  request.mutable_wishes()->set_quality(1);
  Events events;
  ASSERT_TRUE(Generate(request, &events).ok());
  EXPECT_EQ(events[1].started().variant(), "qwen-32b");
  EXPECT_GT(events[1].started().expected_thinking().p90_tokens(), 0);
  request.mutable_wishes()->set_max_cost(0.001);
  const absl::Status status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(rpc::ErrorReason(status), "NO_VARIANT_FITS");
}

TEST_F(ReasoningServiceTest, AnotherVariantStandsInOnlyWhereItMay) {
  small_.Kill();
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  v1::GenerateRequest request = Question();
  EXPECT_EQ(rpc::ErrorReason(Generate(request)), "NO_LIVE_WORKER");
  request.mutable_wishes()->set_may_substitute(true);
  Events events;
  ASSERT_TRUE(Generate(request, &events).ok());
  EXPECT_EQ(events[1].started().variant(), "qwen-32b");
  EXPECT_EQ(events[1].started().variant_reason(),
            "stands in for qwen-1.5b, which has no live worker");
}

TEST_F(ReasoningServiceTest, DrawsASeedWhereNoneIsGivenAndTellsIt) {
  std::set<std::uint64_t> seeds;
  for (int i = 0; i < 3; ++i) {
    Events events;
    ASSERT_TRUE(Generate(Question(), &events).ok());
    seeds.insert(events[1].started().seed());
    EXPECT_EQ(events[1].started().seed(), small_.last_call().request.request().seed());
  }
  EXPECT_EQ(seeds.size(), 3u);
  v1::GenerateRequest request = Question();
  request.set_seed(0);
  Events events;
  ASSERT_TRUE(Generate(request, &events).ok());
  EXPECT_EQ(events[1].started().seed(), 0u);
}

TEST_F(ReasoningServiceTest, PassesDeadlineAndTraceparentOn) {
  grpc::ClientContext context;
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(50);
  context.set_deadline(deadline);
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  context.AddMetadata("traceparent", trace);
  const auto reader = stub_->Generate(&context, Question());
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
  }
  ASSERT_TRUE(reader->Finish().ok());
  const FakeWorker::Call call = small_.last_call();
  const auto at_worker = ContinueTrace(call.traceparent);
  ASSERT_TRUE(at_worker) << call.traceparent;
  EXPECT_EQ(at_worker->trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_NE(at_worker->parent_id, "b7ad6b7169203331") << "the router's span is between";
  EXPECT_EQ(call.request.attempt(), 1);
  EXPECT_LT(call.deadline, deadline + std::chrono::seconds(5));
  EXPECT_GT(call.deadline, deadline - std::chrono::seconds(5));
}

TEST_F(ReasoningServiceTest, ATraceHasTheRoutersSpans) {
  const StderrLog log;
  for (const char* flags : {"01", "00"}) {
    grpc::ClientContext context;
    context.AddMetadata("traceparent", absl::StrCat(kSpanOfClient, flags));
    const auto reader = stub_->Generate(&context, Question());
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
    }
    ASSERT_TRUE(reader->Finish().ok());
  }
  EXPECT_EQ(small_.last_call().traceparent, absl::StrCat(kSpanOfClient, "00")) << "as it came";
  std::vector<nlohmann::json> spans;
  for (const absl::string_view line : absl::StrSplit(log.text(), '\n', absl::SkipEmpty())) {
    if (line.front() != '{') continue;  // not the router's
    const auto record = nlohmann::json::parse(line.begin(), line.end());
    if (record["message"] == "span") spans.push_back(record);
  }
  ASSERT_EQ(spans.size(), 2u) << "of the one that is recorded";
  EXPECT_EQ(spans[0]["name"], "thinkwire.router");
  EXPECT_EQ(spans[0]["parentSpanId"], "b7ad6b7169203331");
  EXPECT_EQ(spans[1]["name"], "thinkwire.queue");
  EXPECT_EQ(spans[1]["parentSpanId"], spans[0]["spanId"]);
  EXPECT_EQ(spans[1]["traceId"], spans[0]["traceId"]);
  EXPECT_EQ(spans[1]["startTimeUnixNano"], spans[0]["startTimeUnixNano"]);
  EXPECT_LE(spans[1]["endTimeUnixNano"].get<std::string>(),
            spans[0]["endTimeUnixNano"].get<std::string>());
}

TEST_F(ReasoningServiceTest, ACancelReachesTheWorker) {
  small_.SetScript({.events = SmallStream(), .stays_open = true});
  Events two = SmallStream();
  two.resize(3);
  small_.SetScript({.events = two, .stays_open = true});
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, Question());
  v1::GenerateResponse event;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  EXPECT_TRUE(small_.WaitForCancels(1));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(service_.WaitUntilIdle(std::chrono::seconds(60)));
  EXPECT_EQ(Metric("thinkwire_router_requests_total", "CANCELLED"), 1);
  EXPECT_EQ(Metric("thinkwire_router_tokens_total", "reasoning"), 2);
}

TEST_F(ReasoningServiceTest, ADeadlineEndsTheWorkersCallToo) {
  small_.SetScript({.stays_open = true});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  const auto reader = stub_->Generate(&context, Question());
  v1::GenerateResponse event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(small_.WaitForCancels(1));
  EXPECT_TRUE(service_.WaitUntilIdle(std::chrono::seconds(60)));
}

TEST_F(ReasoningServiceTest, ALostWorkerEndsTheStreamWithAReason) {
  Events some = SmallStream();
  some.resize(3);
  small_.SetScript({.events = some, .stays_open = true});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto reader = stub_->Generate(&context, Question());
  v1::GenerateResponse event;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(reader->Read(&event));
  small_.Kill();
  EXPECT_FALSE(reader->Read(&event));
  const absl::Status status = rpc::FromGrpc(reader->Finish());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(rpc::ErrorReason(status), "WORKER_LOST");
  EXPECT_EQ(rpc::ErrorMetadata(status, "worker"), small_.address());
  EXPECT_TRUE(rpc::RetryAfter(status).has_value());
}

TEST_F(ReasoningServiceTest, WhatALostStreamHasSpentIsInItsTrailers) {
  Events some = SmallStream();
  some.resize(5);
  const auto trailer = [&](const Events& events, const absl::Status& end) {
    small_.SetScript({.events = events, .end = end});
    grpc::ClientContext context;
    const auto reader = stub_->Generate(&context, Question());
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
    }
    EXPECT_EQ(reader->Finish().ok(), end.ok());
    const auto& trailers = context.GetServerTrailingMetadata();
    const auto found = trailers.find("thinkwire-usage-bin");
    return found == trailers.end() ? "" : std::string(found->second.data(), found->second.size());
  };
  v1::Usage usage;
  ASSERT_TRUE(usage.ParseFromString(trailer(some, absl::UnavailableError("reset"))));
  EXPECT_EQ(usage.prompt_tokens(), 3);
  EXPECT_EQ(usage.reasoning_tokens(), 3);
  EXPECT_EQ(usage.answer_tokens(), 1);
  EXPECT_EQ(trailer(SmallStream(), absl::OkStatus()), "");
  EXPECT_EQ(trailer({}, rpc::Error(absl::StatusCode::kInvalidArgument, "INVALID_FIELD", "")), "");
}

TEST_F(ReasoningServiceTest, AWorkersOwnErrorPassesUnchangedAfterItsEvents) {
  const absl::Status full = rpc::WithRetryAfter(
      rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", "the queue is full"),
      std::chrono::seconds(3));
  Events some = SmallStream();
  some.resize(3);
  small_.SetScript({.events = some, .end = full});
  Events events;
  const absl::Status end = Generate(Question(), &events);
  EXPECT_EQ(end, rpc::WithMetadata(full, "request_id", rpc::ErrorMetadata(end, "request_id")));
  EXPECT_EQ(events.size(), 3u);
}

TEST_F(ReasoningServiceTest, WrongRequestsNeverReachAWorker) {
  v1::GenerateRequest request = Question();
  request.set_max_tokens(0);
  EXPECT_EQ(Generate(request).code(), absl::StatusCode::kInvalidArgument);
  request = Question();
  request.mutable_thinking()->set_min_tokens(-1);
  EXPECT_EQ(rpc::ErrorMetadata(Generate(request), "field"), "thinking.min_tokens");
  request = Question();
  request.set_variant("unknown");
  EXPECT_EQ(Generate(request).code(), absl::StatusCode::kNotFound);
  request = Question();
  request.GetReflection()->MutableUnknownFields(&request)->AddVarint(999, 1);
  EXPECT_EQ(rpc::ErrorReason(Generate(request)), "UNKNOWN_FIELD");
  EXPECT_EQ(Generate(Question("\xff")).message(),
            "prompt.chat.messages[0].content is not valid UTF-8");
  EXPECT_EQ(GenerateRaw("\xff\xff\xff").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Metric("thinkwire_router_requests_total", "INVALID_ARGUMENT"), 3);
  EXPECT_TRUE(Generate(Question()).ok());  // and none did harm
  EXPECT_TRUE(small_.WaitForCalls(1));
}

TEST_F(ReasoningServiceTest, ASlowReaderGetsEverything) {
  Events events = SmallStream();
  v1::GenerateResponse big = events[2];
  big.mutable_reasoning_delta()->set_text(std::string(12'000, 'x'));
  big.mutable_reasoning_delta()->add_token_ids(10);
  events.insert(events.begin() + 3, 300, big);  // more than is queued on the way
  constexpr int kReasoned = 3 + 300 * 3;
  events[303].mutable_reasoning_finished()->set_reasoning_tokens(kReasoned);
  events[305].mutable_finished()->mutable_tokens()->set_reasoning_tokens(kReasoned);
  events[306].mutable_completed()->mutable_usage()->set_reasoning_tokens(kReasoned);
  small_.SetScript({.events = events});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto reader = stub_->Generate(&context, Question());
  ASSERT_TRUE(small_.WaitForCalls(1));
  Events other;
  EXPECT_TRUE(Generate(Question(), &other).ok());  // nobody else waits
  EXPECT_EQ(other.size(), events.size());
  std::size_t read = 0;
  v1::GenerateResponse event;
  while (reader->Read(&event)) ++read;
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(read, events.size());
}

TEST_F(ReasoningServiceTest, DrawnSeedsAreWholeInADoubleToo) {
  for (int i = 0; i < 100; ++i) {
    Events events;
    ASSERT_TRUE(Generate(Question(), &events).ok());
    EXPECT_LT(events[1].started().seed(), std::uint64_t{1} << 53);
  }
}

TEST_F(ReasoningServiceTest, CountsWhatItPassedOn) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Generate(Question()).ok());
  EXPECT_TRUE(service_.WaitUntilIdle(std::chrono::seconds(60)));
  EXPECT_EQ(Metric("thinkwire_router_requests_total", "OK"), 5);
  EXPECT_EQ(Metric("thinkwire_router_tokens_total", "prompt"), 15);
  EXPECT_EQ(Metric("thinkwire_router_tokens_total", "reasoning"), 15);
  EXPECT_EQ(Metric("thinkwire_router_tokens_total", "answer"), 10);
  EXPECT_EQ(Metric("thinkwire_router_tokens_total", "discarded"), 5);
  while (Metric("thinkwire_router_running_requests", "") > 0) std::this_thread::yield();
}

TEST_F(ReasoningServiceTest, ManyAtOnceHalfOfThemCancelled) {
  Events some = SmallStream();
  std::vector<std::thread> clients;
  std::atomic<int> completed = 0;
  for (int i = 0; i < 32; ++i) {
    clients.emplace_back([&, i] {
      grpc::ClientContext context;
      const auto reader = stub_->Generate(&context, Question());
      v1::GenerateResponse event;
      for (int reads = 0; reader->Read(&event); ++reads) {
        if (i % 2 == 0 && reads == i % 5) context.TryCancel();
      }
      completed += reader->Finish().ok() ? 1 : 0;
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GE(completed, 16);
  EXPECT_TRUE(service_.WaitUntilIdle(std::chrono::seconds(60)));
  while (Metric("thinkwire_router_running_requests", "") > 0) std::this_thread::yield();
}

TEST_F(ReasoningServiceTest, DrainingRefusesWhatIsNew) {
  service_.StartDraining();
  const absl::Status status = Generate(Question());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(rpc::ErrorReason(status), "DRAINING");
  EXPECT_TRUE(rpc::RetryAfter(status).has_value());
}

TEST_F(ReasoningServiceTest, NoLiveWorkerIsSaid) {
  small_.Kill();
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  EXPECT_EQ(rpc::ErrorReason(Generate(Question())), "NO_LIVE_WORKER");
  v1::GenerateRequest request = Question();
  request.set_variant("qwen-32b");
  EXPECT_TRUE(Generate(request).ok());
}

TEST_F(ReasoningServiceTest, CountsTokensWithIdsWhenAsked) {
  v1::CountTokensRequest request;
  request.set_variant("qwen-1.5b");
  request.mutable_prompt()->set_text("abc");
  for (const bool ids : {false, true}) {
    request.set_return_token_ids(ids);
    grpc::ClientContext context;
    v1::CountTokensResponse response;
    ASSERT_TRUE(stub_->CountTokens(&context, request, &response).ok());
    EXPECT_EQ(response.variant(), "qwen-1.5b");
    EXPECT_EQ(response.prompt_tokens(), 3);
    EXPECT_EQ(response.token_ids_size(), ids ? 3 : 0);
    EXPECT_EQ(response.max_model_len(), 4096);
  }
  request.mutable_prompt()->clear_kind();
  grpc::ClientContext context;
  v1::CountTokensResponse response;
  EXPECT_EQ(stub_->CountTokens(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ReasoningServiceTest, ListsVariantsByPages) {
  v1::ListVariantsRequest request;
  request.set_page_size(1);
  std::vector<std::string> names;
  do {
    grpc::ClientContext context;
    v1::ListVariantsResponse page;
    ASSERT_TRUE(stub_->ListVariants(&context, request, &page).ok());
    ASSERT_EQ(page.variants_size(), 1);
    EXPECT_EQ(page.variants(0).live_workers(), 1);
    EXPECT_EQ(page.variants(0).max_model_len(), 4096);
    names.push_back(page.variants(0).name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(names, (std::vector<std::string>{"qwen-1.5b", "qwen-32b"}));

  request.set_page_size(-1);
  grpc::ClientContext context;
  v1::ListVariantsResponse page;
  EXPECT_EQ(stub_->ListVariants(&context, request, &page).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ReasoningServiceTest, TellsItsVersionAndWhatIsBuilt) {
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(stub_->GetServerInfo(&context, v1::GetServerInfoRequest(), &info).ok());
  EXPECT_EQ(info.version(), "1.2.3 (commit unknown)");
  const std::set<std::string> methods(info.methods().begin(), info.methods().end());
  EXPECT_TRUE(methods.contains("GetServerInfo"));
  EXPECT_TRUE(methods.contains("AnswerNow"));
  const std::set<std::string> fields(info.generate_fields().begin(), info.generate_fields().end());
  EXPECT_TRUE(fields.contains("thinking.mode=THINKING_MODE_OFF"));
  EXPECT_TRUE(fields.contains("thinking.budget_from_deadline"));
}

TEST_F(ReasoningServiceTest, AnswersNowWhoseNameIsInTheMetadataBeforeAnyEvent) {
  auto events = SmallStream();
  events.resize(3);
  small_.SetScript({.events = events, .stays_open = true});
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, Question());
  reader->WaitForInitialMetadata();
  const auto& metadata = context.GetServerInitialMetadata();
  const auto name = metadata.find("thinkwire-request-id");
  ASSERT_NE(name, metadata.end());
  v1::AnswerNowRequest request;
  request.set_request_id(std::string(name->second.data(), name->second.size()));
  EXPECT_EQ(*AnswerNow(request), 1);
  EXPECT_TRUE(small_.WaitForAnswersNow(1));
  context.TryCancel();
}

TEST_F(ReasoningServiceTest, AnswersNowNothingThatDoesNotRun) {
  v1::AnswerNowRequest request;
  EXPECT_EQ(AnswerNow(request).status().code(), absl::StatusCode::kInvalidArgument);
  request.set_request_id("unknown");
  EXPECT_EQ(rpc::ErrorReason(AnswerNow(request).status()), "REQUEST_NOT_FOUND");
  request.set_output_index(64);
  EXPECT_EQ(AnswerNow(request).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace thinkwire::router
