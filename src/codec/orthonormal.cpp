#include "orthonormal.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

using Vector = std::span<double>;

//! Four sums at a time: faster than one, and the same everywhere.
double dot(Vector a, Vector b) {
    double sums[4] = {};
    std::size_t i = 0;
    for (; i + 4 <= a.size(); i += 4) {
        for (std::size_t j = 0; j < 4; ++j) {
            sums[j] += a[i + j] * b[i + j];
        }
    }
    for (; i < a.size(); ++i) {
        sums[0] += a[i] * b[i];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

void scale(Vector a, double factor) {
    for (double& number : a) {
        number *= factor;
    }
}

class Orthonormaliser {
public:
    Orthonormaliser(std::vector<double>& vectors, std::uint64_t num_vectors)
        : vectors_(vectors), size_(vectors.size() / num_vectors) {}

    void add(std::size_t index) {
        const Vector v = vector(index);
        // Without this, squares of tiny numbers would vanish.
        double largest = 0;
        for (const double number : v) {
            largest = std::max(largest, std::abs(number));
        }
        if (largest > 0) {
            scale(v, 1 / largest);
        }
        const double before = std::sqrt(dot(v, v));
        remove_others(index);
        const double after = std::sqrt(dot(v, v));
        // Less than what rounding leaves of a dependent one.
        if (!(after > 1e-10 * before)) {
            replace(index);
        }
        remove_others(index);
        scale(v, 1 / std::sqrt(dot(v, v)));
    }

private:
    std::vector<double>& vectors_;
    std::size_t size_;
    std::size_t next_unit_ = 0;

    Vector vector(std::size_t index) {
        return Vector(vectors_).subspan(index * size_, size_);
    }

    //! Of the vectors before it.
    void remove_others(std::size_t index) {
        const Vector v = vector(index);
        for (std::size_t i = 0; i < index; ++i) {
            const Vector other = vector(i);
            const double part = dot(v, other);
            for (std::size_t k = 0; k < size_; ++k) {
                v[k] -= part * other[k];
            }
        }
    }

    //! By the next unit vector that is at least as independent as they are on
    //! average: there is one.
    void replace(std::size_t index) {
        const double average =
            static_cast<double>(size_ - index) / static_cast<double>(size_);
        for (std::size_t tried = 0; tried < size_; ++tried) {
            const std::size_t unit = (next_unit_ + tried) % size_;
            double left = 1;
            for (std::size_t i = 0; i < index; ++i) {
                const double part = vector(i)[unit];
                left -= part * part;
            }
            if (left > 0.5 * average) {
                next_unit_ = unit + 1;
                const Vector v = vector(index);
                std::fill(v.begin(), v.end(), 0.0);
                v[unit] = 1;
                remove_others(index);
                return;
            }
        }
    }
};

}  // namespace

void orthonormalise(std::vector<double>& vectors, std::uint64_t num_vectors) {
    FUSIONLLM_EXPECTS(num_vectors > 0 &&
                      vectors.size() / num_vectors >= num_vectors);
    Orthonormaliser orthonormaliser(vectors, num_vectors);
    for (std::size_t i = 0; i < num_vectors; ++i) {
        orthonormaliser.add(i);
    }
}

}  // namespace fusionllm::detail
