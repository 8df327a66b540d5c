#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <Kokkos_Core.hpp>

#include "fusionllm/codec/memory_space.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm::detail {

//! Memory of a codec that is not initialised.
template <class T, class Space>
Kokkos::View<T*, Space> make_room(const std::string& label,
                                  std::uint64_t size) {
    return Kokkos::View<T*, Space>(
        Kokkos::view_alloc(Kokkos::WithoutInitializing, label), size);
}

template <class View>
auto span_of(const View& view) {
    return std::span(view.data(), view.size());
}

struct Gather {
    const float* numbers;
    const std::uint32_t* indices;
    float* values;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t j) const {
        values[j] = numbers[indices[j]];
    }
};

struct Clear {
    float* numbers;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i) const {
        numbers[i] = 0;
    }
};

struct Scatter {
    const float* values;
    const std::uint32_t* indices;
    float* numbers;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t j) const {
        numbers[indices[j]] = values[j];
    }
};

template <class Space>
using MoveRange = Kokkos::RangePolicy<Space, Kokkos::IndexType<std::uint64_t>>;

//! values[j] = numbers[indices[j]]
template <class Space>
void gather(const Space& space,
            std::span<const float> numbers,
            std::span<const std::uint32_t> indices,
            std::span<float> values) {
    Kokkos::parallel_for("FusionLLM::TopK::gather",
                         MoveRange<Space>(space, 0, indices.size()),
                         Gather{numbers.data(), indices.data(), values.data()});
    space.fence();
}

//! The values at the indices, zeros elsewhere.
template <class Space>
void scatter(const Space& space,
             std::span<const float> values,
             std::span<const std::uint32_t> indices,
             std::span<float> numbers) {
    Kokkos::parallel_for("FusionLLM::TopK::clear",
                         MoveRange<Space>(space, 0, numbers.size()),
                         Clear{numbers.data()});
    Kokkos::parallel_for(
        "FusionLLM::TopK::scatter",
        MoveRange<Space>(space, 0, indices.size()),
        Scatter{values.data(), indices.data(), numbers.data()});
    space.fence();
}

//! A codec of this kind, for the execution space that reaches the memory.
template <template <class> class CodecFor, class Interface, class... Args>
std::unique_ptr<Interface> make_for(MemorySpace space, const Args&... args) {
    if (space == MemorySpace::host) {
        return std::make_unique<CodecFor<Kokkos::DefaultHostExecutionSpace>>(
            args...);
    }
#ifdef KOKKOS_ENABLE_CUDA
    return std::make_unique<CodecFor<Kokkos::Cuda>>(args...);
#else
    throw Error(
        "top-k is wanted of CUDA memory, but this Kokkos has no CUDA; build "
        "with a Kokkos that has, or compress on the host");
#endif
}

//! Throws `Error` unless the message is of this codec, and as long as it says.
void check_message(const CodecSpec& found,
                   const CodecSpec& expected,
                   std::size_t payload_size,
                   const MatrixShape& shape);

}  // namespace fusionllm::detail
