#include "vector_set.hpp"

#include "fusionllm/util/error.hpp"

#include "host_product.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::uint64_t width = panel_columns<double>;

//! What a times b is, by rows.
std::vector<double> multiply_by_rows(std::span<const double> a,
                                     std::uint64_t K,
                                     const double* b,
                                     std::uint64_t b_panel,
                                     std::uint64_t N) {
    std::vector<double> out(a.size() / K * N);
    multiply(MatrixProduct<double>{.a = a.data(),
                                   .a_row = K,
                                   .a_inner = 1,
                                   .b = b,
                                   .b_panel = b_panel,
                                   .out = out.data(),
                                   .out_row = N,
                                   .out_column = 1,
                                   .out_panel = width,
                                   .M = a.size() / K,
                                   .N = N,
                                   .K = K,
                                   .add_to = AddTo::zero});
    return out;
}

}  // namespace

VectorSet::VectorSet(std::uint64_t capacity, std::uint64_t length)
    : capacity_(capacity),
      length_(length),
      by_vectors_(length * whole_panels<double>(capacity)),
      by_elements_(capacity * whole_panels<double>(length)) {}

void VectorSet::add(std::span<const double> vectors) {
    FUSIONLLM_EXPECTS(vectors.size() % length_ == 0);
    FUSIONLLM_EXPECTS(size_ + vectors.size() / length_ <= capacity_);
    for (; !vectors.empty(); vectors = vectors.subspan(length_)) {
        for (std::uint64_t i = 0; i < length_; ++i) {
            by_vectors_[panel_index<double>(i, size_, length_)] = vectors[i];
            by_elements_[panel_index<double>(size_, i, capacity_)] = vectors[i];
        }
        ++size_;
    }
}

std::vector<double> VectorSet::dots(std::span<const double> vectors) const {
    return multiply_by_rows(
        vectors, length_, by_vectors_.data(), length_ * width, size_);
}

std::vector<double> VectorSet::combine(std::span<const double> factors) const {
    return multiply_by_rows(
        factors, size_, by_elements_.data(), capacity_ * width, length_);
}

}  // namespace fusionllm::detail
