#include "worker/text/stop_matcher.h"

#include <utility>

namespace thinkwire::worker::text {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)), nodes_(1) {
  for (std::size_t i = 0; i < stops_.size(); ++i) {
    if (!stops_[i].empty()) Insert(static_cast<int>(i));
  }
  LinkFailures();
}

StopMatcher::Result StopMatcher::Push(std::string_view text) {
  if (has_matched()) return {"", matched_};
  std::string seen = std::move(held_);
  held_.clear();
  for (const char c : text) {
    seen.push_back(c);
    node_ = Next(node_, static_cast<std::uint8_t>(c));
    if (nodes_[node_].stop >= 0) {
      matched_ = nodes_[node_].stop;
      seen.resize(seen.size() - nodes_[node_].stop_depth);
      return {std::move(seen), matched_};
    }
  }
  const std::size_t num_sure = seen.size() - nodes_[node_].depth;
  held_ = seen.substr(num_sure);
  seen.resize(num_sure);
  return {std::move(seen), -1};
}

std::string StopMatcher::Flush() {
  node_ = 0;
  matched_ = -1;
  return std::exchange(held_, {});
}

void StopMatcher::Insert(int index) {
  std::uint32_t node = 0;
  for (const char c : stops_[index]) {
    const auto [child, is_new] = children_.try_emplace(
        std::uint64_t{node} << 8 | static_cast<std::uint8_t>(c), nodes_.size());
    const std::uint32_t depth = nodes_[node].depth + 1;
    node = child->second;
    if (is_new) nodes_.push_back({.depth = depth});
  }
  if (nodes_[node].stop < 0) {
    nodes_[node].stop = index;
    nodes_[node].stop_depth = nodes_[node].depth;
  }
}

// Breadth first, as a node's failure is less deep than the node.
void StopMatcher::LinkFailures() {
  struct Edge {
    std::uint32_t parent;
    std::uint32_t child;
    std::uint8_t byte;
  };
  std::vector<std::vector<Edge>> edges_by_depth;
  for (const auto& [key, child] : children_) {
    const std::size_t depth = nodes_[child].depth;
    if (edges_by_depth.size() <= depth) edges_by_depth.resize(depth + 1);
    edges_by_depth[depth].push_back(
        {static_cast<std::uint32_t>(key >> 8), child, static_cast<std::uint8_t>(key)});
  }
  for (const std::vector<Edge>& edges : edges_by_depth) {
    for (const Edge& edge : edges) {
      Node& node = nodes_[edge.child];
      node.failure = edge.parent == 0 ? 0 : Next(nodes_[edge.parent].failure, edge.byte);
      const Node& failure = nodes_[node.failure];
      if (node.stop < 0 && failure.stop >= 0) {
        node.stop = failure.stop;
        node.stop_depth = failure.stop_depth;
      }
    }
  }
}

std::uint32_t StopMatcher::Child(std::uint32_t node, std::uint8_t byte) const {
  const auto child = children_.find(std::uint64_t{node} << 8 | byte);
  return child == children_.end() ? 0 : child->second;
}

std::uint32_t StopMatcher::Next(std::uint32_t node, std::uint8_t byte) const {
  while (true) {
    if (const std::uint32_t child = Child(node, byte); child != 0) return child;
    if (node == 0) return 0;
    node = nodes_[node].failure;
  }
}

}  // namespace thinkwire::worker::text
