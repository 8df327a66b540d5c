#include "fusionllm/exec/buffer_store.hpp"

#include <utility>

#include <ATen/ATen.h>

#include "fusionllm/exec/first_value.hpp"

namespace fusionllm {

BufferStore::BufferStore(const OpGraph& graph,
                         const std::vector<std::size_t>& buffers,
                         const FirstValues& first,
                         at::Device device)
    : indices_(buffers) {
    for (const std::size_t buffer : indices_) {
        held_[buffer].value = make_first_value(
            graph, graph.signature().buffers.at(buffer), first, device);
    }
}

at::Tensor& BufferStore::working(std::size_t buffer) {
    Held& held = held_.at(buffer);
    if (!held.working.defined()) {
        held.working = held.value.clone();
    }
    return held.working;
}

void BufferStore::commit() {
    for (auto& [buffer, held] : held_) {
        if (held.working.defined()) {
            held.value = std::move(held.working);
            held.working = at::Tensor();
        }
    }
}

void BufferStore::drop() {
    for (auto& [buffer, held] : held_) {
        held.working = at::Tensor();
    }
}

}  // namespace fusionllm
