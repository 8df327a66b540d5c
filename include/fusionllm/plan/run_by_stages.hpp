#pragma once

#include <cstddef>
#include <vector>

namespace fusionllm {

/*!
 * Run something whose stages wait for their neighbours' messages, each stage
 * as far as it comes.
 *
 * A work list instead of sweeps: a stage is looked at again only when a
 * neighbour has moved, so the whole is linear in the number of actions.
 *
 * \param advance runs what the stage can run; true if that was anything
 */
template <class Advance>
void run_by_stages(std::size_t num_stages, Advance&& advance) {
    std::vector<std::size_t> todo;
    for (std::size_t stage = num_stages; stage-- > 0;) {
        todo.push_back(stage);
    }
    while (!todo.empty()) {
        const std::size_t stage = todo.back();
        todo.pop_back();
        if (!advance(stage)) {
            continue;
        }
        if (stage > 0) {
            todo.push_back(stage - 1);
        }
        if (stage + 1 < num_stages) {
            todo.push_back(stage + 1);
        }
    }
}

}  // namespace fusionllm
