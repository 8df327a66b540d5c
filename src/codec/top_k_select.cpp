#include "top_k_select.hpp"

#include "fusionllm/util/error.hpp"

#include "top_k_host.hpp"
#include "top_k_kernels.hpp"

namespace fusionllm {
namespace {

using detail::TopKTask;

std::unique_ptr<TopKSelector::Method> make_method(const TopKTask& task,
                                                  MemorySpace space) {
    FUSIONLLM_VALIDATE(
        task.shape.size() >> 32 == 0,
        "top-k is wanted of a tensor of {} elements, but its indices have 32 "
        "bits; cut the graph where values are smaller, or choose a codec "
        "without indices, as int4",
        task.shape.size());
    FUSIONLLM_EXPECTS(task.kept <= task.shape.size());
    FUSIONLLM_EXPECTS(!task.is_by_row() || task.shape.rows == 0 ||
                      task.kept % task.shape.rows == 0);
    if (space == MemorySpace::host) {
        return detail::make_host_top_k(task);
    }
#ifdef KOKKOS_ENABLE_CUDA
    return std::make_unique<detail::KernelTopK<Kokkos::Cuda>>(task);
#else
    throw Error(
        "top-k is wanted of CUDA memory, but this Kokkos has no CUDA; build "
        "with a Kokkos that has");
#endif
}

}  // namespace

TopKSelector::TopKSelector(const MatrixShape& shape,
                           Selection selection,
                           std::uint64_t kept,
                           MemorySpace space)
    : method_(make_method({shape, selection, kept}, space)) {}

TopKSelector::~TopKSelector() = default;
TopKSelector::TopKSelector(TopKSelector&&) noexcept = default;
TopKSelector& TopKSelector::operator=(TopKSelector&&) noexcept = default;

void TopKSelector::select(std::span<const float> numbers,
                          std::span<std::uint32_t> indices) {
    method_->select(numbers, indices);
}

void TopKSelector::set_hint(std::uint32_t threshold) {
    method_->set_hint(threshold);
}

void TopKSelector::forget_hint() {
    method_->forget_hint();
}

TopKSelector::Guess TopKSelector::last_guess() const {
    return method_->last_guess();
}

TopKSelector::Guess detail::select_top_k_by_kernels(
    const MatrixShape& shape,
    Selection selection,
    std::span<const float> numbers,
    std::uint32_t hint,
    std::span<std::uint32_t> indices) {
    KernelTopK<Kokkos::DefaultHostExecutionSpace> method(
        {shape, selection, indices.size()});
    method.set_hint(hint);
    method.select(numbers, indices);
    return method.last_guess();
}

}  // namespace fusionllm
