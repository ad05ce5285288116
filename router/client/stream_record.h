#pragma once

#include <optional>
#include <string>
#include <utility>

#include "router/ledger.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::client {

// What a client has had of one stream: enough to go on with it at another router where its own is
// lost, so that a person sees one text. Threads: one at a time.
class StreamRecord {
 public:
  // `request` as it was asked first.
  explicit StreamRecord(v1::GenerateRequest request) : request_(std::move(request)) {}

  // The next event, of whichever router. What a person is to see of it: itself, Moved in place of a
  // second Started, nothing of a second time in a queue.
  std::optional<v1::GenerateResponse> Add(const v1::GenerateResponse& event);

  // What another router is to be asked now.
  v1::GenerateRequest NextRequest() const;
  // Whether it may be: a vote begins anew there, which shows where something has come of it.
  bool MayGoOn() const { return !request_.has_consensus() || ledger_.outputs().empty(); }

 private:
  void Restart(const v1::Restarted& restarted);
  v1::GenerateResponse MakeMoved(const v1::Started& started);

  const v1::GenerateRequest request_;
  Ledger ledger_;
  v1::Started started_;  // the first, with variant and limits of the run
  std::string worker_;   // the latest
};

}  // namespace thinkwire::router::client
