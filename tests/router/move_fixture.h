#pragma once

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/peer_limits.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fake_fleet.h"

namespace thinkwire::router {

using Events = std::vector<v1::GenerateResponse>;

// Eight ids of thought twice, two of an answer, and text that was held back in both phases.
inline Events Stream() {
  Events events = SmallStream();
  v1::GenerateResponse more;
  for (int id = 100; id < 108; ++id) more.mutable_reasoning_delta()->add_token_ids(id);
  more.mutable_reasoning_delta()->set_text("eight");
  events.insert(events.begin() + 3, 2, more);
  v1::GenerateResponse held;
  held.mutable_reasoning_delta()->set_text("é");
  events.insert(events.begin() + 5, held);
  held.mutable_answer_delta()->set_text("ü");
  events.insert(events.begin() + 8, held);
  events[6].mutable_reasoning_finished()->set_reasoning_tokens(19);
  events[9].mutable_finished()->mutable_tokens()->set_reasoning_tokens(19);
  events[10].mutable_completed()->mutable_usage()->set_reasoning_tokens(19);
  return events;
}

inline absl::Status Lost() { return absl::UnavailableError("connection reset"); }

// Three workers that are asked in their order, and lost after events of a stream that tests write
// down.
class MoveTest : public FakeFleetTest {
 protected:
  MoveTest() : FakeFleetTest(3) {
    for (FakeWorker& worker : workers_) worker.SetScript({.events = Stream()});
    EXPECT_TRUE(pool_.TickUntilLive());
  }

  // The worker sends so many events of all, and goes.
  void EndAfter(std::size_t worker, std::size_t events, const absl::Status& end = Lost()) {
    Events some = Stream();
    some.resize(events);
    workers_[worker].SetScript({.events = some, .end = end});
  }
  // The worker breaks the contract with that message.
  void HaveLie(std::size_t worker, std::int64_t seq) {
    workers_[worker].SetScript({.events = Stream(), .tamper = [seq](auto& message) {
                                  if (message.seq() == seq) message.set_attempt(100);
                                }});
  }
  // All but the first drain from now on.
  void LeaveTheFirstAlone() {
    SetDraining(1, true);
    SetDraining(2, true);
    ASSERT_TRUE(pool_.WaitForLive(0, 1));
  }

  void Pass(Clock::Duration time) {
    clock_.Advance(time);
    moves_.Tick();
  }
  // The first worker is trusted as at the beginning: it has served its time, and a request.
  void Trust() {
    clock_.Advance(kFirstDistrust);
    workers_[0].SetScript({.events = Stream()});
    const auto sink = Ask();
    EXPECT_TRUE(sink->WaitForEnd().ok());
    EXPECT_EQ(sink->events().at(1).started().worker(), workers_[0].address());
  }
  // Asks where no worker is left after three events, and waits until it looks for one.
  std::shared_ptr<TestSink> AskAndLoseAll(fleet::CallContext context = {}) {
    EndAfter(0, 3);
    LeaveTheFirstAlone();
    auto sink = Ask(1000, std::move(context));
    EXPECT_TRUE(sink->WaitForEvents(3));
    EXPECT_TRUE(pool_.WaitUntil([&] { return moves_.num_waiting() == 1; }));
    EXPECT_FALSE(sink->ended());
    return sink;
  }

  // A stream that stays where it has begun, at the first.
  std::shared_ptr<TestSink> AskAndStay() {
    Events begun = Stream();
    begun.resize(4);
    workers_[0].SetScript({.events = begun, .stays_open = true});
    auto sink = Ask();
    EXPECT_TRUE(sink->WaitForEvents(4));
    return sink;
  }

  // What the client sees beside Moved is what one worker would have sent.
  static void ExpectWhole(const Events& seen, std::size_t moves, const Events& all = Stream()) {
    Events rest;
    std::size_t moved = 0;
    for (const auto& event : seen) {
      if (event.has_moved()) {
        ++moved;
      } else if (!event.has_queued()) {
        rest.push_back(event);
      }
    }
    EXPECT_EQ(moved, moves);
    ASSERT_EQ(rest.size(), all.size() - 1);  // but Queued
    for (std::size_t i = 1; i < rest.size() - 1; ++i) {
      EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(rest[i], all[i + 1]))
          << rest[i].DebugString() << all[i + 1].DebugString();
    }
    const v1::Completed& completed = rest.back().completed();
    EXPECT_EQ(completed.resumes(), moves);
    EXPECT_EQ(completed.usage().SerializeAsString(),
              all.back().completed().usage().SerializeAsString());
  }
};

}  // namespace thinkwire::router
