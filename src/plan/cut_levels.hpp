#pragma once

#include <cstddef>
#include <vector>

#include "fusionllm/plan/fence_rule.hpp"

namespace fusionllm::detail {

//! What crosses a cut with one of the codecs that it may have.
struct CutLevel {
    double forward_bytes = 0;
    double backward_bytes = 0;
    CodecWork sender;    //!< more than dense copies, both directions
    CodecWork receiver;  //!< the same
    double price = 0;    //!< of its errors, as a share of the step
};

//! Of a link, each direction.
struct SecondsPerByte {
    double forward = 0;
    double backward = 0;
};

/*!
 * Some of the codecs that a rule may give each of several cuts: equally many of
 * each, a dozen at most, the mildest first. A stronger one has no more bytes in
 * either direction. Without a rule: the dense one alone.
 */
class CutLevels {
public:
    CutLevels(const CostModel& model,
              const std::vector<std::size_t>& positions,
              const FenceRule* rule);

    //! Of each cut.
    std::size_t size() const { return size_; }
    const CutLevel& at(std::size_t cut, std::size_t index) const {
        return levels_[cut * size_ + index];
    }
    const std::vector<CutLevel>& all() const { return levels_; }
    //! The mildest one that takes no longer than the bounds; `size()` if none
    //! does.
    std::size_t find(std::size_t cut,
                     const SecondsPerByte& link,
                     double forward_bound_s,
                     double backward_bound_s) const;

private:
    std::size_t size_ = 1;
    std::vector<CutLevel> levels_;  // [cut * size_ + level]
};

}  // namespace fusionllm::detail
