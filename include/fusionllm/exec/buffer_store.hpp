#pragma once

#include <map>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusionllm/exec/first_values.hpp"
#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

/*!
 * The buffers of one rank: as the last update left them, and as the
 * micro-batches of the step have changed them since.
 *
 * Ops change copies; only `commit` makes them the values. So a step that is
 * skipped, or a forward that is run again, leaves no trace.
 */
class BufferStore {
public:
    //! Asks `first` for each of `buffers` (positions in the signature) once,
    //! one after another.
    BufferStore(const OpGraph& graph,
                const std::vector<std::size_t>& buffers,
                const FirstValues& first,
                at::Device device);

    //! Positions in the signature, as given.
    const std::vector<std::size_t>& indices() const { return indices_; }
    //! As the last update left it.
    const at::Tensor& value(std::size_t buffer) const {
        return held_.at(buffer).value;
    }
    //! As the micro-batches so far left it: for ops to change.
    at::Tensor& working(std::size_t buffer);

    //! The step counts: what ops changed becomes the values.
    void commit();
    //! It does not: forget what ops changed.
    void drop();

private:
    struct Held {
        at::Tensor value;
        at::Tensor working;  // undefined until the step asks for it
    };

    std::vector<std::size_t> indices_;
    std::map<std::size_t, Held> held_;
};

}  // namespace fusionllm
