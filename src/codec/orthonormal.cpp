#include "orthonormal.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "fusionllm/util/error.hpp"

#include "vector_set.hpp"

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

// Vectors that are made orthonormal to all those before at once, by products
// of matrices, and then among themselves.
constexpr std::size_t block = 24;

class Orthonormaliser {
public:
    Orthonormaliser(std::vector<double>& vectors, std::uint64_t num_vectors)
        : vectors_(vectors),
          num_(num_vectors),
          size_(vectors.size() / num_vectors),
          done_(num_vectors, size_) {}

    void run() {
        for (std::size_t first = 0; first < num_; first += block) {
            const std::size_t end = std::min(first + block, num_);
            double before[block];
            for (std::size_t i = first; i < end; ++i) {
                before[i - first] = prepare(vector(i));
            }
            remove_done(first, end);
            for (std::size_t i = first; i < end; ++i) {
                remove(first, i);
                const double after = std::sqrt(dot(vector(i), vector(i)));
                // Less than what rounding leaves of a dependent one.
                if (!(after > 1e-10 * before[i - first])) {
                    replace(i);
                }
                normalise(vector(i));
            }
            remove_done(first, end);
            for (std::size_t i = first; i < end; ++i) {
                remove(first, i);
                normalise(vector(i));
            }
            done_.add(vectors_between(first, end));
        }
    }

private:
    std::vector<double>& vectors_;
    std::size_t num_;
    std::size_t size_;
    VectorSet done_;
    std::size_t next_unit_ = 0;

    Vector vectors_between(std::size_t first, std::size_t end) {
        return Vector(vectors_).subspan(first * size_, (end - first) * size_);
    }
    Vector vector(std::size_t index) {
        return vectors_between(index, index + 1);
    }

    //! Its length, then. Without this, squares of tiny numbers would vanish.
    static double prepare(Vector v) {
        double largest = 0;
        for (const double number : v) {
            largest = std::max(largest, std::abs(number));
        }
        if (largest > 0) {
            scale(v, 1 / largest);
        }
        return std::sqrt(dot(v, v));
    }

    static void normalise(Vector v) { scale(v, 1 / std::sqrt(dot(v, v))); }

    //! From those of a block, the parts of all before it.
    void remove_done(std::size_t first, std::size_t end) {
        if (first == 0) {
            return;
        }
        const Vector vectors = vectors_between(first, end);
        const std::vector<double> parts = done_.combine(done_.dots(vectors));
        for (std::size_t k = 0; k < vectors.size(); ++k) {
            vectors[k] -= parts[k];
        }
    }

    //! The parts of those from `first` on that are before it.
    void remove(std::size_t first, std::size_t index) {
        const Vector v = vector(index);
        for (std::size_t i = first; i < index; ++i) {
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
                remove(0, index);
                return;
            }
        }
    }
};

//! Cosine and sine.
struct Rotation {
    double c;
    double s;
};

//! That takes what p and q have in common away (Golub and Van Loan, 8.5).
Rotation find_rotation(double pp, double pq, double qq) {
    const double theta = (qq - pp) / (2 * pq);
    const double t =
        (theta < 0 ? -1 : 1) / (std::abs(theta) + std::hypot(theta, 1.0));
    const double c = 1 / std::hypot(t, 1.0);
    return {c, t * c};
}

void rotate(Vector a, Vector b, const Rotation& rotation) {
    for (std::size_t k = 0; k < a.size(); ++k) {
        const double x = a[k];
        const double y = b[k];
        a[k] = rotation.c * x - rotation.s * y;
        b[k] = rotation.s * x + rotation.c * y;
    }
}

class Jacobi {
public:
    Jacobi(std::vector<double> matrix, std::size_t size)
        : size_(size), matrix_(std::move(matrix)), vectors_(size * size) {
        for (std::size_t i = 0; i < size; ++i) {
            vectors_[i * size + i] = 1;
        }
    }

    //! Whether there was anything left to rotate.
    bool sweep() {
        bool is_changed = false;
        for (std::size_t p = 0; p < size_; ++p) {
            for (std::size_t q = p + 1; q < size_; ++q) {
                const double pq = at(p, q);
                const double limit =
                    1e-15 * std::sqrt(std::abs(at(p, p) * at(q, q)));
                if (std::abs(pq) > limit) {
                    is_changed = true;
                    apply(p, q, find_rotation(at(p, p), pq, at(q, q)));
                }
            }
        }
        return is_changed;
    }

    std::vector<double> sorted_vectors() {
        std::vector<std::size_t> order(size_);
        std::iota(order.begin(), order.end(), 0U);
        std::ranges::stable_sort(order, [&](std::size_t i, std::size_t j) {
            return at(i, i) > at(j, j);
        });
        std::vector<double> sorted;
        for (const std::size_t i : order) {
            const Vector v = row(vectors_, i);
            sorted.insert(sorted.end(), v.begin(), v.end());
        }
        return sorted;
    }

private:
    std::size_t size_;
    std::vector<double> matrix_;
    std::vector<double> vectors_;

    double at(std::size_t i, std::size_t j) const {
        return matrix_[i * size_ + j];
    }
    Vector row(std::vector<double>& matrix, std::size_t i) const {
        return Vector(matrix).subspan(i * size_, size_);
    }
    void apply(std::size_t p, std::size_t q, const Rotation& rotation) {
        const Vector a = row(matrix_, p);
        const Vector b = row(matrix_, q);
        rotate(a, b, rotation);
        rotate(a.subspan(p, 1), a.subspan(q, 1), rotation);
        rotate(b.subspan(p, 1), b.subspan(q, 1), rotation);
        b[p] = a[q];
        // Columns are what rows are.
        for (std::size_t k = 0; k < size_; ++k) {
            matrix_[k * size_ + p] = a[k];
            matrix_[k * size_ + q] = b[k];
        }
        rotate(row(vectors_, p), row(vectors_, q), rotation);
    }
};

}  // namespace

std::vector<double> find_eigenvectors(std::vector<double> matrix,
                                      std::uint64_t size) {
    FUSIONLLM_EXPECTS(matrix.size() == size * size);
    constexpr int most_sweeps = 30;
    Jacobi jacobi(std::move(matrix), size);
    for (int i = 0; i < most_sweeps && jacobi.sweep(); ++i) {
    }
    return jacobi.sorted_vectors();
}

void orthonormalise(std::vector<double>& vectors, std::uint64_t num_vectors) {
    FUSIONLLM_EXPECTS(num_vectors > 0 &&
                      vectors.size() / num_vectors >= num_vectors);
    Orthonormaliser(vectors, num_vectors).run();
}

}  // namespace fusionllm::detail
