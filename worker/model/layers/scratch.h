#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "worker/kernels/backend.h"
#include "worker/model/layers/activation.h"

namespace thinkwire::worker::model {

// Activations between the ops of a part. Parts run one after another, so that those of all layers
// share them: who asks for the same name and width gets the same.
// Owns: the activations. Threads: the rank's.
class Scratch {
 public:
  // `backend` must outlive this object.
  Scratch(std::int64_t max_tokens, kernels::Backend& backend)
      : max_tokens_(max_tokens), backend_(backend) {}

  // act [max_tokens, cols], valid as long as this object. Allocates at the first call.
  const Activation& Get(const std::string& name, std::int64_t cols) {
    return Get(name, cols, backend_.capabilities().activation);
  }
  // The same of another type, which is always the same for a name.
  const Activation& Get(const std::string& name, std::int64_t cols, kernels::DType dtype) {
    return activations_.try_emplace({name, cols}, backend_, dtype, max_tokens_, cols).first->second;
  }

 private:
  const std::int64_t max_tokens_;
  kernels::Backend& backend_;
  std::map<std::pair<std::string, std::int64_t>, Activation> activations_;
};

}  // namespace thinkwire::worker::model
