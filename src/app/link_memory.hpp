#pragma once

#include <deque>

#include "fusionllm/topology/network.hpp"

namespace fusionllm {

/*!
 * What a run knows of a link, one direction: the rate that was planned with,
 * then the median of what the last steps told.
 *
 * A link tells nothing while little goes over it, and little goes over one that
 * was found slow: it may have recovered long ago. So what has not been told
 * again for some choices is forgotten, and the next choice is made by the
 * planned rate. If the link is still slow, that shows within steps, and the
 * next time is waited for twice as long.
 */
class LinkMemory {
public:
    explicit LinkMemory(const Link& planned)
        : planned_(planned), chosen_by_(planned) {}

    //! Of a step; NaN where it told nothing.
    void add(double bytes_per_s);
    //! What to choose codecs by.
    Link link() const;
    //! Before each choice of codecs that is made by `link()`.
    void begin_choice();
    //! Whether the link carries less than half of what codecs were chosen by,
    //! so that a choice should not wait.
    bool is_far_slower() const;

private:
    static constexpr int first_patience = 4;

    Link planned_;
    Link chosen_by_;
    std::deque<double> rates_;       // of the last steps that told any
    bool has_told_ = false;          // since the last choice
    bool is_trial_ = false;          // since that choice forgot
    int silent_ = 0;                 // choices without a rate
    int patience_ = first_patience;  // so many are borne
};

}  // namespace fusionllm
