#pragma once

#include <deque>

#include "fusionllm/runtime/step_measurements.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

/*!
 * What a run knows of a link, one direction: the rate that was planned with,
 * then what was tried out last. Until the next trial, what training messages
 * show counts if it is far slower.
 */
class LinkMemory {
public:
    explicit LinkMemory(const Link& planned)
        : known_(planned), chosen_by_(planned) {}

    void add(const LinkFindings& found);
    //! What to choose codecs by.
    Link link() const;
    //! Before each choice of codecs that is made by `link()`.
    void begin_choice() { chosen_by_ = link(); }
    //! Whether the link carries less than half of what codecs were chosen by,
    //! so that a choice should not wait.
    bool is_far_slower() const;

private:
    Link known_;
    Link chosen_by_;
    std::deque<double> seen_;  // of the last steps since the trial
};

}  // namespace fusionllm
