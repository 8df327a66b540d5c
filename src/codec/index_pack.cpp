#include "fusionllm/codec/index_pack.hpp"

#include <bit>
#include <string>

#include <Kokkos_Core.hpp>

#include "fusionllm/util/error.hpp"
#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm {
namespace {

static_assert(std::endian::native == std::endian::little,
              "words are copied as they are; the format is little-endian");

using Word = std::uint64_t;
constexpr std::uint64_t word_bits = 64;
constexpr std::uint64_t word_bytes = 8;

// A payload may begin anywhere.
KOKKOS_INLINE_FUNCTION Word load_word(const std::byte* words, std::uint64_t i) {
    Word word = 0;
    memcpy(&word, words + i * word_bytes, word_bytes);
    return word;
}

KOKKOS_INLINE_FUNCTION void store_word(std::byte* words,
                                       std::uint64_t i,
                                       Word word) {
    memcpy(words + i * word_bytes, &word, word_bytes);
}

KOKKOS_INLINE_FUNCTION int count_ones(Word word) {
    word -= (word >> 1) & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return static_cast<int>((word * 0x0101010101010101u) >> 56);
}

//! Of a word that is not 0.
KOKKOS_INLINE_FUNCTION int lowest_one(Word word) {
#ifdef __CUDA_ARCH__
    return __ffsll(static_cast<long long>(word)) - 1;
#else
    return __builtin_ctzll(word);
#endif
}

/*!
 * Word w of the unary part: the indices whose ones are in it. With no low bits
 * and positions that do not grow (`step` 0) it is the bitmap.
 */
struct PackHigh {
    const std::uint32_t* indices;
    std::uint64_t num_indices;
    int low_bits;
    std::uint64_t step;
    std::byte* words;

    KOKKOS_INLINE_FUNCTION std::uint64_t position(std::uint64_t j) const {
        return (indices[j] >> low_bits) + step * j;
    }
    //! The first index whose one is not before this bit.
    KOKKOS_INLINE_FUNCTION std::uint64_t find(std::uint64_t bit) const {
        std::uint64_t first = 0;
        std::uint64_t count = num_indices;
        while (count > 0) {
            const std::uint64_t half = count / 2;
            const bool is_before = position(first + half) < bit;
            first += is_before ? half + 1 : 0;
            count = is_before ? count - half - 1 : half;
        }
        return first;
    }
    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t w) const {
        const std::uint64_t begin = w * word_bits;
        Word word = 0;
        for (std::uint64_t j = find(begin);
             j < num_indices && position(j) < begin + word_bits;
             ++j) {
            word |= Word{1} << (position(j) - begin);
        }
        store_word(words, w, word);
    }
};

//! Word w of the low bits: those of the indices that reach into it.
struct PackLow {
    const std::uint32_t* indices;
    std::uint64_t num_indices;
    std::uint64_t low_bits;
    std::byte* words;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t w) const {
        const std::uint64_t begin = w * word_bits;
        const Word mask = (Word{1} << low_bits) - 1;
        std::uint64_t j = begin / low_bits;
        Word word =
            j < num_indices ? (indices[j] & mask) >> (begin - j * low_bits) : 0;
        for (++j; j < num_indices && j * low_bits < begin + word_bits; ++j) {
            word |= (indices[j] & mask) << (j * low_bits - begin);
        }
        store_word(words, w, word);
    }
};

//! The high parts, from the ones' positions; never more than asked for.
struct UnpackHigh {
    const std::byte* words;
    std::uint32_t* indices;
    std::uint64_t num_indices;
    int low_bits;
    std::uint64_t step;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t w,
                                           std::uint64_t& before,
                                           bool is_final) const {
        Word word = load_word(words, w);
        if (!is_final) {
            before += static_cast<std::uint64_t>(count_ones(word));
            return;
        }
        for (; word != 0; word &= word - 1) {
            if (before < num_indices) {
                const std::uint64_t at =
                    w * word_bits +
                    static_cast<std::uint64_t>(lowest_one(word));
                const std::uint64_t index = (at - step * before) << low_bits;
                // No index; must not become one by losing bits.
                indices[before] = index >> 32 == 0
                                      ? static_cast<std::uint32_t>(index)
                                      : ~std::uint32_t{0};
            }
            ++before;
        }
    }
};

//! Adds the low bits.
struct UnpackLow {
    const std::byte* words;
    std::uint32_t* indices;
    std::uint64_t low_bits;

    KOKKOS_INLINE_FUNCTION std::uint32_t low(std::uint64_t j) const {
        const std::uint64_t bit = j * low_bits;
        const std::uint64_t w = bit / word_bits;
        const std::uint64_t shift = bit % word_bits;
        Word word = load_word(words, w) >> shift;
        if (shift + low_bits > word_bits) {
            word |= load_word(words, w + 1) << (word_bits - shift);
        }
        return static_cast<std::uint32_t>(word & ((Word{1} << low_bits) - 1));
    }
    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t j) const {
        indices[j] |= low(j);
    }
};

//! Indices that are not below the size, or not above the one before.
struct CountWrong {
    const std::uint32_t* indices;
    std::uint64_t num_elements;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t j,
                                           std::uint64_t& wrong) const {
        const bool is_wrong = indices[j] >= num_elements ||
                              (j > 0 && indices[j] <= indices[j - 1]);
        wrong += is_wrong ? 1 : 0;
    }
};

//! Ones behind the bits that mean something.
struct CountPadding {
    const std::byte* words;
    std::uint64_t num_bits;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t w,
                                           std::uint64_t& ones) const {
        const std::uint64_t begin = w * word_bits;
        const std::uint64_t used =
            num_bits > begin ? num_bits - begin : std::uint64_t{0};
        const Word word = load_word(words, w);
        ones += used < word_bits && (word >> used) != 0 ? 1 : 0;
    }
};

struct WriteAll {
    std::uint32_t* indices;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i) const {
        indices[i] = static_cast<std::uint32_t>(i);
    }
};

template <class Space>
using Range = Kokkos::RangePolicy<Space, Kokkos::IndexType<std::uint64_t>>;

std::uint64_t step_of(const IndexLayout& layout) {
    return layout.kind == IndexLayout::Kind::elias_fano ? 1 : 0;
}

//! Of the unary part, or of the bitmap.
std::uint64_t num_high_bits(const IndexLayout& layout,
                            std::uint64_t num_elements,
                            std::uint64_t num_indices) {
    return layout.kind == IndexLayout::Kind::bitmap
               ? num_elements
               : num_indices + (num_elements >> layout.low_bits) + 1;
}

template <class Space>
void encode(const Space& space,
            std::span<const std::uint32_t> indices,
            const IndexLayout& layout,
            std::byte* packed) {
    if (layout.low_bytes > 0) {
        Kokkos::parallel_for(
            "FusionLLM::IndexPack::pack_low",
            Range<Space>(space, 0, layout.low_bytes / word_bytes),
            PackLow{indices.data(),
                    indices.size(),
                    static_cast<std::uint64_t>(layout.low_bits),
                    packed});
    }
    Kokkos::parallel_for("FusionLLM::IndexPack::pack_high",
                         Range<Space>(space, 0, layout.high_bytes / word_bytes),
                         PackHigh{indices.data(),
                                  indices.size(),
                                  layout.low_bits,
                                  step_of(layout),
                                  packed + layout.low_bytes});
    space.fence();
}

[[noreturn]] void refuse(const std::string& reason) {
    throw Error(fmt::format(
        "the indices of a message cannot be used: {}; check that all ranks run "
        "the same version of fusionllm",
        reason));
}

template <class Space>
void check_padding(const Space& space,
                   const std::byte* words,
                   std::size_t num_bytes,
                   std::uint64_t num_bits) {
    std::uint64_t ones = 0;
    const std::uint64_t first = num_bits / word_bits;
    Kokkos::parallel_reduce("FusionLLM::IndexPack::check_padding",
                            Range<Space>(space, first, num_bytes / word_bytes),
                            CountPadding{words, num_bits},
                            ones);
    if (ones > 0) {
        refuse("what pads them is not zero");
    }
}

template <class Space>
void decode(const Space& space,
            std::span<const std::byte> packed,
            std::uint64_t num_elements,
            const IndexLayout& layout,
            std::span<std::uint32_t> indices) {
    const std::uint64_t k = indices.size();
    const auto low_bits = static_cast<std::uint64_t>(layout.low_bits);
    const std::byte* high = packed.data() + layout.low_bytes;
    check_padding(space, packed.data(), layout.low_bytes, k * low_bits);
    check_padding(
        space, high, layout.high_bytes, num_high_bits(layout, num_elements, k));
    std::uint64_t num_ones = 0;
    Kokkos::parallel_scan(
        "FusionLLM::IndexPack::unpack_high",
        Range<Space>(space, 0, layout.high_bytes / word_bytes),
        UnpackHigh{high, indices.data(), k, layout.low_bits, step_of(layout)},
        num_ones);
    if (num_ones != k) {
        refuse(fmt::format("there are {}, not {}", num_ones, k));
    }
    if (low_bits > 0) {
        Kokkos::parallel_for(
            "FusionLLM::IndexPack::unpack_low",
            Range<Space>(space, 0, k),
            UnpackLow{packed.data(), indices.data(), low_bits});
    }
    std::uint64_t num_wrong = 0;
    Kokkos::parallel_reduce("FusionLLM::IndexPack::check",
                            Range<Space>(space, 0, k),
                            CountWrong{indices.data(), num_elements},
                            num_wrong);
    if (num_wrong > 0) {
        refuse(
            fmt::format("{} of {} are not above the one before and below the "
                        "tensor's {} elements",
                        num_wrong,
                        k,
                        num_elements));
    }
}

template <class Space>
void write_all(const Space& space, std::span<std::uint32_t> indices) {
    Kokkos::parallel_for("FusionLLM::IndexPack::write_all",
                         Range<Space>(space, 0, indices.size()),
                         WriteAll{indices.data()});
    space.fence();
}

//! Call with the execution space that reaches the memory.
template <class F>
void with_space(MemorySpace space, F f) {
    if (space == MemorySpace::host) {
        f(Kokkos::DefaultHostExecutionSpace());
        return;
    }
#ifdef KOKKOS_ENABLE_CUDA
    f(Kokkos::Cuda());
#else
    throw Error(
        "indices are in CUDA memory, but this Kokkos has no CUDA; build with a "
        "Kokkos that has");
#endif
}

void check_size(std::uint64_t num_elements) {
    FUSIONLLM_VALIDATE(
        num_elements >> 32 == 0,
        "the indices of a tensor of {} elements have more than 32 bits; cut "
        "the graph where values are smaller, or choose a codec without "
        "indices, as int4",
        num_elements);
}

}  // namespace

void encode_indices(std::span<const std::uint32_t> indices,
                    std::uint64_t num_elements,
                    std::span<std::byte> packed,
                    MemorySpace space) {
    check_size(num_elements);
    const IndexLayout layout = index_layout(num_elements, indices.size());
    FUSIONLLM_EXPECTS(packed.size() == layout.bytes());
    if (layout.kind == IndexLayout::Kind::nothing) {
        return;
    }
    with_space(space, [&](const auto& reached) {
        encode(reached, indices, layout, packed.data());
    });
}

void decode_indices(std::span<const std::byte> packed,
                    std::uint64_t num_elements,
                    std::span<std::uint32_t> indices,
                    MemorySpace space) {
    check_size(num_elements);
    const IndexLayout layout = index_layout(num_elements, indices.size());
    if (packed.size() != layout.bytes()) {
        refuse(fmt::format(
            "they take {} bytes, not {}", packed.size(), layout.bytes()));
    }
    with_space(space, [&](const auto& reached) {
        if (layout.kind == IndexLayout::Kind::nothing) {
            write_all(reached, indices);
        } else {
            decode(reached, packed, num_elements, layout, indices);
        }
    });
}

}  // namespace fusionllm
