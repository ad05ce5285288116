#pragma once

#include <memory>
#include <string>

#include "router/callers.h"
#include "tests/fakes/test_ca.h"
#include "tests/router/http/door_fixture.h"

namespace thinkwire::router::http {

// SHA-256 of 64 times "a", which is the key of the tenant "search".
inline constexpr char kHashOfKey[] =
    "sha256:ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb";

// A router whose callers are tenants.
class KeyedDoorTest : public DoorTest {
 protected:
  KeyedDoorTest()
      : callers_(*Callers::Load(folder_.Write(
            "keys", std::string("search ") + kHashOfKey + "\nbatch certificate:batch.example\n"))),
        keyed_({.catalog = catalog_,
                .pool = *pool_,
                .metrics = metrics_,
                .clock = Clock::Real(),
                .resume_wait = {},
                .callers = callers_.get()}) {}
  ~KeyedDoorTest() override { door_.reset(); }
  Intake& intake() override { return keyed_; }

  TlsFolder folder_;
  std::unique_ptr<Callers> callers_;
  ReasoningService keyed_;
};

}  // namespace thinkwire::router::http
