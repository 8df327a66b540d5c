#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

/*!
 * Samples by number. A sample is a list of tensors in the order of the
 * graph's inputs, labels last, without the batch axis.
 */
class Dataset {
public:
    virtual ~Dataset() = default;
    virtual std::size_t size() const = 0;
    virtual std::vector<HostTensor> get(std::size_t index) const = 0;
    //! The sample as it is in one pass over the data, where each has its own
    //! (images that are cropped at random): a function of these two alone.
    virtual std::vector<HostTensor> get_in_epoch(std::size_t index,
                                                 std::uint64_t epoch) const {
        static_cast<void>(epoch);
        return get(index);
    }
    //! Equal on all ranks that read the same data.
    virtual std::uint64_t content_hash() const = 0;
};

/*!
 * Which sample comes when: a pseudo-random permutation of [0, size) for each
 * epoch (keyed Feistel network: no memory, O(1)), a function of the seed and
 * the running number of the sample alone. Without shuffle: the number modulo
 * the size.
 */
class SampleOrder {
public:
    enum class Kind { shuffled, sequential };
    SampleOrder(std::uint64_t seed, std::size_t size, Kind kind);
    //! Sample number `position` of the run (step * batch + i) -> index.
    std::size_t operator()(std::uint64_t position) const;

private:
    std::uint64_t seed_;
    std::size_t size_;
    Kind kind_;
};

}  // namespace fusionllm
