// The roster's part in the router's queue: who has places, and which workers have one.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/peer_limits.h"
#include "router/fleet/roster.h"

namespace thinkwire::router::fleet {

void Roster::Give(std::size_t index, std::int32_t outputs) {
  views_[index].leased += outputs;
  ++views_[index].given;
  members_[index].trust.Give();
}

void Roster::TakeBack(std::size_t index, std::int32_t outputs, bool begun) {
  End(index, outputs);
  members_[index].trust.TakeBack(begun);
}

void Roster::End(std::size_t index, std::int64_t outputs) {
  views_[index].leased -= outputs;
  members_[index].ended += outputs;
  CHECK(views_[index].leased >= 0, "a lease was released twice");
}

bool Roster::HasPlace(std::size_t index, Room room, double surplus,
                      std::optional<double> most_beside) const {
  const decision::WorkerView& worker = views_[index];
  const std::int64_t places = worker.status->max_num_seqs;
  const std::int64_t ahead = LookAhead(worker.status->max_num_seqs);
  const std::int64_t load = worker.leased - worker.parked + worker.others;
  const double beside = static_cast<double>(load) - (room == Room::kFirst ? surplus : 0);
  if (most_beside && beside > *most_beside) return false;
  switch (room) {
    case Room::kNone:
      return false;
    case Room::kOrdinary:
      return worker.leased < ahead || load < places + ahead;
    case Room::kFirst:
      return worker.leased < ahead || beside < static_cast<double>(2 * places + ahead);
  }
  return false;
}

void Roster::KeepPlaces(std::size_t variant, Room room, double surplus,
                        std::optional<double> most_beside, decision::Query& query) const {
  for (std::size_t i = 0; i < views_.size(); ++i) {
    const decision::WorkerView& view = views_[i];
    if (view.live() && (view.variant != variant || !HasPlace(i, room, surplus, most_beside))) {
      query.tried.push_back(i);
    }
  }
}

void Roster::KeepVariant(const std::string& name, decision::Query& query) const {
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (views_[i].live() && VariantOf(i).name != name) query.tried.push_back(i);
  }
}

std::size_t Roster::NumLive(std::size_t variant) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      views_, [=](const auto& view) { return view.variant == variant && view.live(); }));
}

std::int64_t Roster::Places(std::size_t variant) const {
  std::int64_t places = 0;
  for (const decision::WorkerView& view : views_) {
    if (view.variant == variant && view.live()) places += view.status->max_num_seqs;
  }
  return places;
}

void Roster::ShareOutWaiting(const Turns& turns) {
  std::vector<double> live(variants_.size());
  for (const decision::WorkerView& view : views_) {
    if (view.live()) ++live[view.variant];
  }
  std::vector<double> each(variants_.size());
  for (std::size_t v = 0; v < variants_.size(); ++v) {
    if (live[v] > 0) each[v] = static_cast<double>(turns.NumWaiting(variants_[v].name)) / live[v];
  }
  for (decision::WorkerView& view : views_) {
    view.waiting = view.live() ? each[view.variant] : 0;
  }
}

}  // namespace thinkwire::router::fleet
