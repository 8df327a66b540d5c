#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fusionllm::detail {

/*!
 * Vectors on the host, for products with others: as fast as matrix products
 * are, and with the same bits everywhere.
 */
class VectorSet {
public:
    //! Empty; has room for `capacity` vectors of `length` numbers.
    VectorSet(std::uint64_t capacity, std::uint64_t length);

    //! One or more, one after the other.
    void add(std::span<const double> vectors);

    //! (M, size): of each of M vectors with each of these.
    std::vector<double> dots(std::span<const double> vectors) const;

    //! (M, length): sums of these vectors times (M, size) factors.
    std::vector<double> combine(std::span<const double> factors) const;

private:
    std::uint64_t capacity_;
    std::uint64_t length_;
    std::uint64_t size_ = 0;
    std::vector<double> by_vectors_;   // (length, capacity), in panels
    std::vector<double> by_elements_;  // (capacity, length), in panels
};

}  // namespace fusionllm::detail
