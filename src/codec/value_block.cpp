#include "fusionllm/codec/value_block.hpp"

#include <bit>

#include <Kokkos_Core.hpp>

#include "fusionllm/util/error.hpp"

#include "execution.hpp"
#include "value_tile.hpp"

namespace fusionllm {
namespace {

static_assert(std::endian::native == std::endian::little,
              "blocks are little-endian, and written as memory has them");

KOKKOS_INLINE_FUNCTION int tile_count(std::uint64_t tile, std::uint64_t count) {
    const std::uint64_t left = count - tile * tile_size;
    return static_cast<int>(left < tile_size ? left : tile_size);
}

//! Zeros from the end of what is written to the end of its part.
KOKKOS_INLINE_FUNCTION void pad(std::byte* part,
                                std::size_t begin,
                                std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
        part[i] = std::byte{0};
    }
}

template <int bits, Rounding rounding>
struct EncodeTile {
    const float* values;
    std::uint64_t count;
    std::byte* scales;
    std::size_t num_scale_bytes;
    std::byte* packed;
    std::size_t num_packed_bytes;
    PhiloxKey key;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t tile) const {
        const std::uint64_t first = tile * tile_size;
        const int size = tile_count(tile, count);
        std::byte* to = packed + first / 8 * bits;
        if (size == detail::tile) {
            encode_whole(values + first, tile, to);
        } else {
            encode_rest(tile, size, to);
        }
        if (first + static_cast<std::uint64_t>(size) == count) {
            pad(scales, 2 * tile + 2, num_scale_bytes);
            pad(packed, (count * bits + 7) / 8, num_packed_bytes);
        }
    }

    KOKKOS_INLINE_FUNCTION void encode_whole(const float* from,
                                             std::uint64_t tile,
                                             std::byte* to) const {
        std::uint8_t integers[detail::tile];
        find_integers(from, detail::tile, tile, integers);
        detail::pack_tile<bits>(integers, to);
    }

    KOKKOS_INLINE_FUNCTION void encode_rest(std::uint64_t tile,
                                            int size,
                                            std::byte* to) const {
        float from[detail::tile] = {};
        std::memcpy(from,
                    values + tile * tile_size,
                    sizeof(float) * static_cast<std::size_t>(size));
        std::uint8_t integers[detail::tile];
        find_integers(from, size, tile, integers);
        for (int i = size; i < detail::tile; ++i) {
            integers[i] = 0;
        }
        std::byte bytes[detail::tile];
        detail::pack_tile<bits>(integers, bytes);
        std::memcpy(to, bytes, static_cast<std::size_t>((size * bits + 7) / 8));
    }

    //! Of a whole tile, zeros from `count` on; writes its scale.
    KOKKOS_INLINE_FUNCTION void find_integers(const float* from,
                                              int count,
                                              std::uint64_t tile,
                                              std::uint8_t* integers) const {
        std::uint32_t largest = detail::find_largest(from, detail::tile);
        if constexpr (rounding == Rounding::nearest &&
                      bits <= detail::most_bits_tried) {
            const float reach = detail::find_reach<bits>(from, count, largest);
            largest = largest < detail::infinity_bits
                          ? detail::bits_of(detail::float_of(largest) * reach)
                          : largest;
        }
        const auto scale = detail::scale_of<bits>(largest);
        std::memcpy(scales + 2 * tile, &scale.bf16, 2);
        if (scale.bf16 != detail::not_finite) {
            round(from, tile * tile_size, scale.inverse, integers);
        } else {
            std::memset(integers, 0, detail::tile);
        }
    }

    KOKKOS_INLINE_FUNCTION void round(const float* from,
                                      std::uint64_t first,
                                      float inverse,
                                      std::uint8_t* integers) const {
        if constexpr (rounding == Rounding::stochastic) {
            std::int32_t dither[detail::tile];
            detail::draw_dither(first, key, dither);
            detail::round_tile<bits, rounding>(from, inverse, dither, integers);
        } else {
            detail::round_tile<bits, rounding>(
                from, inverse, nullptr, integers);
        }
    }
};

template <int bits, Rounding rounding>
struct DecodeTile {
    const std::byte* scales;
    const std::byte* packed;
    float* values;
    std::uint64_t count;
    PhiloxKey key;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t tile) const {
        const std::uint64_t first = tile * tile_size;
        const int size = tile_count(tile, count);
        const std::byte* from = packed + first / 8 * bits;
        if (size == detail::tile) {
            decode_whole(from, tile, values + first);
            return;
        }
        std::byte bytes[detail::tile] = {};
        std::memcpy(
            bytes, from, static_cast<std::size_t>((size * bits + 7) / 8));
        float to[detail::tile];
        decode_whole(bytes, tile, to);
        std::memcpy(values + first, to, 4 * static_cast<std::size_t>(size));
    }

    KOKKOS_INLINE_FUNCTION void decode_whole(const std::byte* from,
                                             std::uint64_t tile,
                                             float* to) const {
        std::uint16_t bf16 = 0;
        std::memcpy(&bf16, scales + 2 * tile, 2);
        const float scale = detail::float_of_bf16(bf16);
        std::uint8_t integers[detail::tile];
        detail::unpack_tile<bits>(from, integers);
        if constexpr (rounding == Rounding::stochastic) {
            std::int32_t dither[detail::tile];
            detail::draw_dither(tile * tile_size, key, dither);
            detail::scale_dithered_tile<bits>(integers, dither, scale, to);
        } else {
            detail::scale_tile<bits>(integers, scale, to);
        }
    }
};

//! Formats whose values stand for themselves.
template <ValueFormat format>
struct EncodePlain {
    const float* values;
    std::uint64_t count;
    std::byte* block;
    std::size_t num_bytes;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t tile) const {
        const std::uint64_t first = tile * tile_size;
        const auto size = static_cast<std::size_t>(tile_count(tile, count));
        const float* from = values + first;
        if constexpr (format == ValueFormat::f32) {
            std::memcpy(block + 4 * first, from, 4 * size);
        } else {
            std::byte* to = block + 2 * first;
            for (std::size_t i = 0; i < size; ++i) {
                const std::uint16_t half = format == ValueFormat::bf16
                                               ? detail::bf16_of(from[i])
                                               : detail::f16_of(from[i]);
                std::memcpy(to + 2 * i, &half, 2);
            }
        }
        if (first + size == count) {
            pad(block, count * (format == ValueFormat::f32 ? 4 : 2), num_bytes);
        }
    }
};

template <ValueFormat format>
struct DecodePlain {
    const std::byte* block;
    float* values;
    std::uint64_t count;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t tile) const {
        const std::uint64_t first = tile * tile_size;
        const auto size = static_cast<std::size_t>(tile_count(tile, count));
        float* to = values + first;
        if constexpr (format == ValueFormat::f32) {
            std::memcpy(to, block + 4 * first, 4 * size);
        } else {
            const std::byte* from = block + 2 * first;
            for (std::size_t i = 0; i < size; ++i) {
                std::uint16_t half = 0;
                std::memcpy(&half, from + 2 * i, 2);
                to[i] = format == ValueFormat::bf16
                            ? detail::float_of_bf16(half)
                            : detail::float_of_f16(half);
            }
        }
    }
};

template <class ExecutionSpace>
using Tiles =
    Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::uint64_t>>;

std::uint64_t num_tiles(std::uint64_t count) {
    return (count + tile_size - 1) / tile_size;
}

template <class Kernel>
void encode(MemorySpace space, const Kernel& kernel) {
    detail::with_execution(space, [&](const auto& execution) {
        using Space = std::decay_t<decltype(execution)>;
        Kokkos::parallel_for(
            "FusionLLM::ValueBlock::encode",
            Tiles<Space>(execution, 0, num_tiles(kernel.count)),
            kernel);
        execution.fence();
    });
}

template <class Kernel>
void decode(MemorySpace space, const Kernel& kernel) {
    detail::with_execution(space, [&](const auto& execution) {
        using Space = std::decay_t<decltype(execution)>;
        Kokkos::parallel_for(
            "FusionLLM::ValueBlock::decode",
            Tiles<Space>(execution, 0, num_tiles(kernel.count)),
            kernel);
        execution.fence();
    });
}

template <int bits>
void encode_tiles(ValueFormat format,
                  Rounding rounding,
                  std::uint64_t random_key,
                  std::span<const float> values,
                  std::span<std::byte> block,
                  MemorySpace space) {
    const std::size_t head = scale_bytes(format, values.size());
    const auto make = [&]<Rounding how>() {
        return EncodeTile<bits, how>{values.data(),
                                     values.size(),
                                     block.data(),
                                     head,
                                     block.data() + head,
                                     block.size() - head,
                                     make_philox_key(random_key)};
    };
    if (rounding == Rounding::nearest) {
        encode(space, make.template operator()<Rounding::nearest>());
    } else {
        encode(space, make.template operator()<Rounding::stochastic>());
    }
}

template <int bits>
void decode_tiles(ValueFormat format,
                  Rounding rounding,
                  std::uint64_t random_key,
                  std::span<const std::byte> block,
                  std::span<float> values,
                  MemorySpace space) {
    const std::size_t head = scale_bytes(format, values.size());
    const auto make = [&]<Rounding how>() {
        return DecodeTile<bits, how>{block.data(),
                                     block.data() + head,
                                     values.data(),
                                     values.size(),
                                     make_philox_key(random_key)};
    };
    if (rounding == Rounding::nearest) {
        decode(space, make.template operator()<Rounding::nearest>());
    } else {
        decode(space, make.template operator()<Rounding::stochastic>());
    }
}

template <ValueFormat format>
void encode_plain(std::span<const float> values,
                  std::span<std::byte> block,
                  MemorySpace space) {
    encode(space,
           EncodePlain<format>{
               values.data(), values.size(), block.data(), block.size()});
}

template <ValueFormat format>
void decode_plain(std::span<const std::byte> block,
                  std::span<float> values,
                  MemorySpace space) {
    decode(space,
           DecodePlain<format>{block.data(), values.data(), values.size()});
}

}  // namespace

void encode_values(ValueFormat format,
                   Rounding rounding,
                   std::uint64_t random_key,
                   std::span<const float> values,
                   std::span<std::byte> block,
                   MemorySpace space) {
    FUSIONLLM_EXPECTS(block.size() == value_block_bytes(format, values.size()));
    switch (format) {
        case ValueFormat::f32:
            return encode_plain<ValueFormat::f32>(values, block, space);
        case ValueFormat::bf16:
            return encode_plain<ValueFormat::bf16>(values, block, space);
        case ValueFormat::f16:
            return encode_plain<ValueFormat::f16>(values, block, space);
        case ValueFormat::int8:
            return encode_tiles<8>(
                format, rounding, random_key, values, block, space);
        case ValueFormat::int6:
            return encode_tiles<6>(
                format, rounding, random_key, values, block, space);
        case ValueFormat::int5:
            return encode_tiles<5>(
                format, rounding, random_key, values, block, space);
        case ValueFormat::int4:
            return encode_tiles<4>(
                format, rounding, random_key, values, block, space);
        case ValueFormat::int3:
            return encode_tiles<3>(
                format, rounding, random_key, values, block, space);
        case ValueFormat::int2:
            return encode_tiles<2>(
                format, rounding, random_key, values, block, space);
        case ValueFormat::native:
        case ValueFormat::graded:
        case ValueFormat::graded6:
        case ValueFormat::graded5:
            break;
    }
    throw ContractError("native and graded values are no block");
}

void decode_values(ValueFormat format,
                   Rounding rounding,
                   std::uint64_t random_key,
                   std::span<const std::byte> block,
                   std::span<float> values,
                   MemorySpace space) {
    FUSIONLLM_EXPECTS(block.size() == value_block_bytes(format, values.size()));
    switch (format) {
        case ValueFormat::f32:
            return decode_plain<ValueFormat::f32>(block, values, space);
        case ValueFormat::bf16:
            return decode_plain<ValueFormat::bf16>(block, values, space);
        case ValueFormat::f16:
            return decode_plain<ValueFormat::f16>(block, values, space);
        case ValueFormat::int8:
            return decode_tiles<8>(
                format, rounding, random_key, block, values, space);
        case ValueFormat::int6:
            return decode_tiles<6>(
                format, rounding, random_key, block, values, space);
        case ValueFormat::int5:
            return decode_tiles<5>(
                format, rounding, random_key, block, values, space);
        case ValueFormat::int4:
            return decode_tiles<4>(
                format, rounding, random_key, block, values, space);
        case ValueFormat::int3:
            return decode_tiles<3>(
                format, rounding, random_key, block, values, space);
        case ValueFormat::int2:
            return decode_tiles<2>(
                format, rounding, random_key, block, values, space);
        case ValueFormat::native:
        case ValueFormat::graded:
        case ValueFormat::graded6:
        case ValueFormat::graded5:
            break;
    }
    throw ContractError("native and graded values are no block");
}

}  // namespace fusionllm
