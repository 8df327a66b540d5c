#include "fusionllm/codec/index_pack.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"
#include "fusionllm/wire/codec_spec.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Indices = std::vector<std::uint32_t>;
using Bytes = std::vector<std::byte>;

//! `count` of the first `size` numbers, ascending.
Indices draw(std::uint64_t size, std::uint64_t count, std::uint32_t seed) {
    Indices indices;
    std::uint64_t left = count;
    for (std::uint64_t i = 0; i < size && left > 0; ++i) {
        const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, seed}},
                                  make_philox_key(3));
        if (block.words[0] % (size - i) < left) {
            indices.push_back(static_cast<std::uint32_t>(i));
            --left;
        }
    }
    return indices;
}

void set_bit(Bytes& bytes, std::size_t bit) {
    bytes[bit / 8] |= static_cast<std::byte>(1u << bit % 8);
}

//! Bit by bit, from the header's words.
Bytes encode_plainly(const Indices& indices, std::uint64_t size) {
    const IndexLayout layout = index_layout(size, indices.size());
    Bytes bytes(layout.bytes());
    const auto low_bits = static_cast<std::size_t>(layout.low_bits);
    for (std::size_t j = 0; j < indices.size(); ++j) {
        if (layout.kind == IndexLayout::Kind::bitmap) {
            set_bit(bytes, indices[j]);
        }
        if (layout.kind == IndexLayout::Kind::elias_fano) {
            for (std::size_t bit = 0; bit < low_bits; ++bit) {
                if ((indices[j] >> bit & 1u) != 0) {
                    set_bit(bytes, j * low_bits + bit);
                }
            }
            set_bit(bytes, 8 * layout.low_bytes + (indices[j] >> low_bits) + j);
        }
    }
    return bytes;
}

Bytes encode(const Indices& indices, std::uint64_t size) {
    Bytes bytes(index_layout(size, indices.size()).bytes(), std::byte{0xff});
    encode_indices(indices, size, bytes, MemorySpace::host);
    return bytes;
}

Indices decode(const Bytes& bytes, std::uint64_t size, std::uint64_t count) {
    Indices indices(count, ~0u);
    decode_indices(bytes, size, indices, MemorySpace::host);
    return indices;
}

std::string decode_error(const Bytes& bytes,
                         std::uint64_t size,
                         std::uint64_t count) {
    try {
        decode(bytes, size, count);
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

TEST(IndexPack, is_what_the_format_says_and_comes_back) {
    for (const std::uint64_t size :
         {0, 1, 2, 63, 64, 65, 100, 1000, 4097, 70'000}) {
        for (const std::uint64_t count : {std::uint64_t{0},
                                          std::uint64_t{1},
                                          size / 1000,
                                          size / 100,
                                          size / 10,
                                          size / 5,
                                          size / 2,
                                          size - size / 7,
                                          size - 1,
                                          size}) {
            if (count > size) {
                continue;
            }
            const Indices indices =
                draw(size, count, static_cast<std::uint32_t>(count));
            const Bytes bytes = encode(indices, size);

            ASSERT_EQ(indices.size(), count);
            EXPECT_EQ(bytes, encode_plainly(indices, size))
                << count << " of " << size;
            EXPECT_EQ(decode(bytes, size, count), indices)
                << count << " of " << size;
        }
    }
}

TEST(IndexPack, packs_ends_and_clusters) {
    const std::vector<Indices> cases{{0, 1, 2, 3, 4},
                                     {9'995, 9'996, 9'997, 9'998, 9'999},
                                     {0, 63, 64, 127, 9'999},
                                     {5'000, 5'001, 5'002, 5'003, 9'000}};
    for (const Indices& indices : cases) {
        const Bytes bytes = encode(indices, 10'000);

        EXPECT_EQ(bytes, encode_plainly(indices, 10'000));
        EXPECT_EQ(decode(bytes, 10'000, 5), indices);
    }
}

TEST(IndexPack, is_written_in_this_order) {
    // 6 low bits each: 1, 2, 3; high parts 0, 1, 2 at bits 0, 2, 4
    const Indices indices{1, 66, 131};

    const Bytes bytes = encode(indices, 200);

    Bytes expected(16);
    expected[0] = std::byte{0b1000'0001};
    expected[1] = std::byte{0b0011'0000};
    expected[8] = std::byte{0b0001'0101};
    EXPECT_EQ(bytes, expected);
}

TEST(IndexPack, takes_all_sizes_below_two_to_the_32) {
    const std::uint64_t size = (std::uint64_t{1} << 32) - 1;
    const Indices indices{0, 77, 4'000'000'000u, 4'294'967'294u};

    const Bytes bytes = encode(indices, size);

    EXPECT_EQ(decode(bytes, size, 4), indices);
    Bytes packed(8);
    EXPECT_THROW(encode_indices(indices, size + 1, packed, MemorySpace::host),
                 InputError);
    Indices decoded(4);
    EXPECT_THROW(decode_indices(packed, size + 1, decoded, MemorySpace::host),
                 InputError);
}

TEST(IndexPack, costs_little_more_than_the_entropy) {
    const double n = 1 << 22;
    const double k = std::round(n / 100);
    const double bits =
        (std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1)) /
        std::log(2);

    const double packed =
        8.0 * static_cast<double>(index_layout(1 << 22, 41943).bytes());

    EXPECT_LT(packed, 1.15 * bits) << "entropy " << bits / 8 << " bytes";
    EXPECT_GT(packed, bits);
}

TEST(IndexPack, decoder_takes_nothing_that_the_encoder_does_not_write) {
    for (const std::uint64_t size : {65, 100, 1000, 1024, 4097}) {
        for (const std::uint64_t count : {std::uint64_t{1},
                                          std::uint64_t{3},
                                          size / 10,
                                          size / 2,
                                          size - 1}) {
            const Bytes bytes = encode(draw(size, count, 5), size);
            for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
                Bytes damaged = bytes;
                damaged[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
                Indices indices(count);
                try {
                    decode_indices(damaged, size, indices, MemorySpace::host);
                } catch (const Error&) {
                    continue;
                }

                EXPECT_EQ(encode(indices, size), damaged)
                    << count << " of " << size << ", bit " << bit;
            }
        }
    }
}

TEST(IndexPack, decoder_says_what_is_wrong) {
    const Bytes good = encode({1, 66, 131}, 200);
    const auto with = [&](std::size_t at, int value) {
        Bytes bytes = good;
        bytes[at] = static_cast<std::byte>(value);
        return decode_error(bytes, 200, 3);
    };

    EXPECT_EQ(decode_error(good, 200, 3), "");
    EXPECT_NE(with(2, 4).find("pads"), std::string::npos) << with(2, 4);
    EXPECT_NE(with(15, 1).find("pads"), std::string::npos);
    EXPECT_NE(with(8, 0b0101).find("there are 2, not 3"), std::string::npos)
        << with(8, 0b0101);
    EXPECT_NE(with(8, 0b1'0111).find("there are 4, not 3"), std::string::npos);
    // The same high part for the first two: 3, 2, 131
    Bytes falling = good;
    falling[0] = std::byte{0b1000'0011};
    falling[8] = std::byte{0b0001'0011};
    EXPECT_NE(decode_error(falling, 200, 3).find("1 of 3"), std::string::npos);
    // 3 << 6 | 3 is 195, 3 << 6 | 9 is 201
    Bytes last = good;
    last[8] = std::byte{0b0010'0101};
    EXPECT_EQ(decode_error(last, 200, 3), "");
    last[1] = std::byte{0b1001'0000};
    EXPECT_NE(decode_error(last, 200, 3).find("1 of 3"), std::string::npos);
    EXPECT_NE(decode_error(Bytes(8), 200, 3).find("8 bytes, not 16"),
              std::string::npos);
}

TEST(IndexPack, decoder_refuses_indices_that_do_not_fit_32_bits) {
    const std::uint64_t size = (std::uint64_t{1} << 32) - 1;
    const IndexLayout layout = index_layout(size, 1);
    Bytes bytes(layout.bytes());
    set_bit(bytes, 8 * layout.low_bytes + (size >> layout.low_bits) + 1);

    EXPECT_NE(decode_error(bytes, size, 1), "");
}

TEST(IndexPack, says_so_when_kokkos_cannot_reach_the_memory) {
    if (kokkos_has_cuda()) {
        GTEST_SKIP() << "this Kokkos reaches CUDA memory";
    }
    Indices indices{1, 2};
    Bytes bytes(index_layout(100, 2).bytes());

    EXPECT_THROW(encode_indices(indices, 100, bytes, MemorySpace::cuda), Error);
    EXPECT_THROW(decode_indices(bytes, 100, indices, MemorySpace::cuda), Error);
}

}  // namespace
}  // namespace fusionllm::test
