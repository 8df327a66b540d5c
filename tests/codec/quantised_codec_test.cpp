#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/codec/value_block.hpp"
#include "fusionllm/util/random.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Numbers = std::vector<float>;
using Bytes = std::vector<std::byte>;

constexpr MatrixShape shape{21, 70};

std::unique_ptr<Codec> make(const std::string& text) {
    return make_codec(parse_codec_choice(text, 1), shape, MemorySpace::host);
}

Numbers make_numbers() {
    Numbers numbers;
    for (std::uint64_t i = 0; i < shape.size(); ++i) {
        numbers.push_back(std::sin(static_cast<float>(i * i)));
    }
    return numbers;
}

Bytes encode(Codec& codec, Direction direction, const CodecKey& key) {
    const CodecSpec spec = codec.spec(direction, key);
    Bytes payload(payload_bytes(spec, shape));
    codec.encode(direction, key, make_numbers(), payload);
    return payload;
}

TEST(QuantisedCodec, sends_one_block_of_values_either_way) {
    const auto codec = make("int4/int3s");
    CodecKey key;
    key.random = 77;
    const Numbers numbers = make_numbers();

    const Bytes forward = encode(*codec, Direction::forward, key);
    const Bytes backward = encode(*codec, Direction::backward, key);

    Bytes expected(value_block_bytes(ValueFormat::int4, shape.size()));
    encode_values(ValueFormat::int4,
                  Rounding::nearest,
                  0,
                  numbers,
                  expected,
                  MemorySpace::host);
    EXPECT_EQ(forward, expected);
    expected.resize(value_block_bytes(ValueFormat::int3, shape.size()));
    encode_values(ValueFormat::int3,
                  Rounding::stochastic,
                  77,
                  numbers,
                  expected,
                  MemorySpace::host);
    EXPECT_EQ(backward, expected);
}

TEST(QuantisedCodec, decodes_what_each_direction_was_encoded_to) {
    const auto codec = make("fp32/bf16");
    const Numbers numbers = make_numbers();
    Numbers decoded(shape.size());

    codec->decode(Direction::forward,
                  {},
                  codec->spec(Direction::forward, {}),
                  encode(*codec, Direction::forward, {}),
                  decoded);
    EXPECT_EQ(decoded, numbers);
    codec->decode(Direction::backward,
                  {},
                  codec->spec(Direction::backward, {}),
                  encode(*codec, Direction::backward, {}),
                  decoded);
    EXPECT_NE(decoded, numbers);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        EXPECT_NEAR(decoded[i], numbers[i], std::abs(numbers[i]) / 256);
    }
}

TEST(QuantisedCodec, is_smaller_as_it_says) {
    const auto bytes = [](const char* text) {
        return payload_bytes(make(text)->spec(Direction::forward, {}), shape);
    };

    EXPECT_EQ(bytes("fp32"), 4 * 1470U);
    EXPECT_EQ(bytes("fp16"), 2944U);
    EXPECT_EQ(bytes("int8"), 24 + 1472U);
    EXPECT_EQ(bytes("int4"), 24 + 736U);
    EXPECT_EQ(bytes("int3"), 24 + 552U);
    EXPECT_EQ(bytes("int2"), 24 + 368U);
}

TEST(QuantisedCodec, draws_from_the_key_of_the_message) {
    const auto codec = make("int2s");
    CodecKey other;
    other.random = 1;

    EXPECT_NE(encode(*codec, Direction::forward, {}),
              encode(*codec, Direction::forward, other));
}

}  // namespace
}  // namespace fusionllm::test
