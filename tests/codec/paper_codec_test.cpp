#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/codec/top_k_select.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Numbers = std::vector<float>;
using Bytes = std::vector<std::byte>;

constexpr MatrixShape shape{10, 99};

Numbers make_numbers(std::uint32_t seed) {
    Numbers numbers(shape.size());
    for (std::uint64_t i = 0; i < numbers.size(); ++i) {
        const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, seed}},
                                  make_philox_key(12));
        numbers[i] = static_cast<float>(block.words[0]) - 0x1p31f;
    }
    return numbers;
}

std::unique_ptr<Codec> make() {
    return make_codec(
        parse_codec_choice("paper(30)", 1), shape, MemorySpace::host);
}

Bytes encode(Codec& codec, Direction direction, const Numbers& numbers) {
    Bytes payload(payload_bytes(codec.spec(direction, {}), shape),
                  std::byte{0xff});
    codec.encode(direction, {}, numbers, payload);
    return payload;
}

Numbers decode(Codec& codec, Direction direction, const Bytes& payload) {
    Numbers numbers(shape.size(), 77.0f);
    codec.decode(direction, {}, codec.spec(direction, {}), payload, numbers);
    return numbers;
}

void put_index(Bytes& payload, std::size_t j, std::uint64_t index) {
    std::memcpy(payload.data() + 8 * j, &index, 8);
}

TEST(PaperCodec, writes_i64_indices_and_f32_values_both_ways) {
    auto codec = make();
    for (const Direction direction :
         {Direction::forward, Direction::backward}) {
        const Numbers numbers = make_numbers(static_cast<int>(direction));
        const std::uint64_t kept = codec->spec(direction, {}).kept;
        std::vector<std::uint32_t> indices(kept);
        TopKSelector(shape, Selection::tensor, kept, MemorySpace::host)
            .select(numbers, indices);

        const Bytes payload = encode(*codec, direction, numbers);

        Bytes expected(33 * 12 + 4);  // 8 (33 + 33/2) rounded up
        for (std::size_t j = 0; j < kept; ++j) {
            put_index(expected, j, indices[j]);
            std::memcpy(
                expected.data() + 8 * kept + 4 * j, &numbers[indices[j]], 4);
        }
        EXPECT_EQ(kept, 33U);
        EXPECT_EQ(payload, expected);
    }
}

TEST(PaperCodec, each_direction_has_a_mask_of_its_own) {
    auto before = make();
    auto after = make();
    for (const std::uint32_t seed : {1, 2}) {
        for (const Direction direction :
             {Direction::forward, Direction::backward}) {
            const Numbers numbers =
                make_numbers(10 * seed + static_cast<std::uint32_t>(direction));
            const bool is_forward = direction == Direction::forward;
            Numbers expected(shape.size());
            std::vector<std::uint32_t> indices(33);
            TopKSelector(shape, Selection::tensor, 33, MemorySpace::host)
                .select(numbers, indices);
            for (const std::uint32_t i : indices) {
                expected[i] = numbers[i];
            }

            const Bytes payload =
                encode(is_forward ? *before : *after, direction, numbers);

            EXPECT_EQ(decode(is_forward ? *after : *before, direction, payload),
                      expected);
        }
    }
}

TEST(PaperCodec, refuses_indices_out_of_range_or_order) {
    auto codec = make();
    const Bytes good = encode(*codec, Direction::forward, make_numbers(1));
    const auto with = [&](std::size_t j, std::uint64_t index) {
        Bytes payload = good;
        put_index(payload, j, index);
        return payload;
    };
    std::uint64_t fourth = 0;
    std::memcpy(&fourth, good.data() + 8 * 4, 8);

    EXPECT_NO_THROW(decode(*codec, Direction::forward, good));
    for (const Bytes& bad : {with(32, shape.size()),
                             with(32, ~std::uint64_t{0}),
                             with(32, std::uint64_t{1} << 32 | 980),
                             with(0, shape.size() - 1),
                             with(5, fourth),
                             with(5, fourth - 1)}) {
        EXPECT_THROW(decode(*codec, Direction::forward, bad), Error);
    }
    EXPECT_THROW(decode(*codec, Direction::forward, Bytes(good.size() - 8)),
                 Error);
}

TEST(PaperCodec, a_pair_of_ours_is_ten_times_smaller) {
    const MatrixShape of{256, 1024};
    const CodecPair paper = resolve(parse_codec_choice("paper(100)", 1), of);
    const CodecPair ours =
        resolve(parse_codec_choice("top_k(100,int4)", 1), of);
    const auto bytes = [&](const CodecPair& pair) {
        return static_cast<double>(payload_bytes(pair.forward, of) +
                                   payload_bytes(pair.backward, of));
    };

    EXPECT_EQ(paper.forward.kept, ours.forward.kept);
    EXPECT_GE(bytes(paper) / bytes(ours), 10);
}

TEST(PaperCodec, keeps_no_state) {
    auto codec = make();

    EXPECT_TRUE(codec->state().empty());
    EXPECT_THROW(codec->set_state({{"basis", {}}}), InputError);
}

}  // namespace
}  // namespace fusionllm::test
