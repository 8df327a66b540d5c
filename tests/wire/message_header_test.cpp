#include "fusionllm/wire/message_header.hpp"

#include <cstring>
#include <limits>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"

namespace fusionllm::test {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr auto max_size = std::numeric_limits<std::int64_t>::max();

//! A channels-last image gradient: bf16[2,3,5,7], 420 bytes.
MessageHeader make_image_header() {
    return {.kind = MessageKind::gradient,
            .codec = {},
            .has_tensor = true,
            .step = 0x0102030405060708,
            .micro_batch = 9,
            .value = 0xA0B0C0D0,
            .type = {DType::bf16, {2, 3, 5, 7}},
            .stride_order = {0, 2, 3, 1},
            .payload_bytes = 420};
}

//! Header and as many bytes of payload as it announces.
std::vector<std::byte> make_message(const MessageHeader& header) {
    const auto head = encode_header(header);
    std::vector<std::byte> message(head.begin(), head.end());
    message.resize(header_bytes + header.payload_bytes);
    return message;
}

//! Change one byte and make the CRC right again.
void forge(std::vector<std::byte>& message, std::size_t offset, int value) {
    message.at(offset) = static_cast<std::byte>(value);
    const std::uint32_t crc = crc32c(std::span(message).first(124));
    for (std::size_t i = 0; i < 4; ++i) {
        message[124 + i] = static_cast<std::byte>(crc >> (8 * i));
    }
}

std::string to_hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes) {
        text += fmt::format("{:02x}", std::to_integer<int>(byte));
    }
    return text;
}

TEST(MessageHeader, comes_back_as_it_was_encoded) {
    MessageHeader scalar{.type = {DType::f64, {}}, .payload_bytes = 8};
    MessageHeader empty{.type = {DType::u8, {4, 0, 6}},
                        .stride_order = {2, 1, 0}};
    MessageHeader absent{.kind = MessageKind::gradient, .has_tensor = false};
    MessageHeader widest{.type = {DType::i64, {1, 1, 2, 1, 1, 2, 1, 1}},
                         .stride_order = {7, 6, 5, 4, 3, 2, 1, 0},
                         .payload_bytes = 32};
    for (const auto& header :
         {make_image_header(), scalar, empty, absent, widest}) {
        const auto message = make_message(header);

        EXPECT_EQ(decode_header(message), header) << to_text(header);
    }
}

TEST(MessageHeader, has_the_bytes_that_its_layout_states) {
    const auto bytes = encode_header(make_image_header());

    EXPECT_EQ(to_hex(std::span(bytes).first(124)),
              "464c4c4d"
              "0400"
              "01"
              "00"
              "03"
              "04"
              "0000"
              "09000000"
              "0807060504030201"
              "d0c0b0a0"
              "00000000"
              "0200000000000000"
              "0300000000000000"
              "0500000000000000"
              "0700000000000000"
              "0000000000000000"
              "0000000000000000"
              "0000000000000000"
              "0000000000000000"
              "0002030100000000"
              "a401000000000000"
              "000000000000000000000000");
    EXPECT_EQ(to_hex(std::span(bytes).last(4)), "402f54e2");
}

TEST(MessageHeader, says_how_its_payload_is_encoded) {
    const MessageHeader header{
        .codec = {.id = CodecId::top_k,
                  .values = ValueFormat::int4,
                  .rounding = Rounding::stochastic,
                  .selection = Selection::row,
                  .kept = 64},
        .type = {DType::f32, {32, 128}},
        .stride_order = {0, 1},
        .payload_bytes =
            encoded_message_bytes(
                {.id = CodecId::top_k, .values = ValueFormat::int4, .kept = 64},
                {32, 128}) -
            header_bytes};

    const auto message = make_message(header);

    EXPECT_EQ(decode_header(message), header);
    EXPECT_EQ(to_hex(std::span(message).subspan(6, 2)), "0002");
    EXPECT_EQ(to_hex(std::span(message).subspan(28, 4)), "05010100");
    EXPECT_EQ(to_hex(std::span(message).subspan(112, 8)), "4000000000000000");
}

TEST(MessageHeader, is_refused_unless_the_payload_is_what_the_codec_makes) {
    MessageHeader header{.codec = {.id = CodecId::subspace,
                                   .values = ValueFormat::int4,
                                   .kept = 4},
                         .type = {DType::f32, {32, 128}},
                         .stride_order = {0, 1}};
    header.payload_bytes = payload_bytes(header.codec, {32, 128});
    ASSERT_EQ(decode_header(make_message(header)), header);

    header.payload_bytes += 8;
    EXPECT_THROW(decode_header(make_message(header)), Error);
    header.codec.carries_basis = true;
    header.payload_bytes = payload_bytes(header.codec, {32, 128});
    EXPECT_EQ(decode_header(make_message(header)), header);
    header.codec.rows_differ = true;
    header.payload_bytes = payload_bytes(header.codec, {32, 128});
    EXPECT_EQ(decode_header(make_message(header)), header);
    header.codec.kept = 129;
    EXPECT_THROW(decode_header(make_message(header)), Error);
}

TEST(MessageHeader, is_refused_with_any_single_bit_flipped) {
    auto message = make_message(make_image_header());

    for (std::size_t bit = 0; bit < 8 * header_bytes; ++bit) {
        message[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_THROW(decode_header(message), Error) << "bit " << bit;
        message[bit / 8] ^= std::byte{1} << (bit % 8);
    }

    EXPECT_EQ(decode_header(message), make_image_header());
}

TEST(MessageHeader, says_why_a_message_is_refused) {
    struct Case {
        std::size_t offset;
        int value;
        const char* sentence;
    };
    for (const auto& [offset, value, sentence] :
         {Case{0, 'X', "does not start with FLLM"},
          Case{4, 1, "version 1 and this program reads version 4"},
          Case{6, 4, "kind 4 is unknown"},
          Case{7, 6, "codec 6 is unknown"},
          Case{8, num_dtypes, "dtype 12 is unknown"},
          Case{9, 9, "9 dimensions, more than 8"},
          Case{9, 3, "shall be zero"},
          Case{10, 8, "unknown flags"},
          Case{10, 2, "is for f32"},
          Case{10, 1, "no tensor, but it has sizes"},
          Case{28, 1, "is for f32"},
          Case{28, 13, "value format 13 is unknown"},
          Case{29, 2, "rounding 2 is unknown"},
          Case{30, 2, "selection 2 is unknown"},
          Case{31, 1, "shall be zero"},
          Case{32, 4, "takes 840 bytes, but it carries 420"},
          Case{39, 0x80, "not those of a tensor"},
          Case{39, 0x7f, "not those of a tensor"},
          Case{64, 1, "shall be zero"},
          Case{97, 1, "not a permutation"},
          Case{97, 200, "not a permutation"},
          Case{104, 0, "256 bytes follow, but 420 do"},
          Case{111, 0xff, "bytes follow, but 420 do"},
          Case{112, 1, "is for f32"},
          Case{120, 1, "shall be zero"}}) {
        auto message = make_message(make_image_header());
        forge(message, offset, value);

        EXPECT_THAT([&] { decode_header(message); },
                    ThrowsMessage<Error>(HasSubstr(sentence)))
            << "byte " << offset;
    }
}

TEST(MessageHeader, is_refused_when_the_message_has_another_length) {
    const auto original = make_message(make_image_header());
    const auto is_refused = ThrowsMessage<Error>(
        testing::AnyOf(HasSubstr("bytes follow"), HasSubstr("less than")));

    for (const std::size_t size : {0, 1, 127, 128, 547, 549, 4096}) {
        auto message = original;
        message.resize(size);
        EXPECT_THAT([&] { decode_header(message); }, is_refused) << size;
    }
}

TEST(MessageHeader, names_a_damaged_header) {
    auto message = make_message(make_image_header());
    message[40] ^= std::byte{4};

    EXPECT_THAT([&] { decode_header(message); },
                ThrowsMessage<Error>(HasSubstr("damaged")));
}

TEST(MessageHeader, decoding_random_bytes_gives_an_error_or_a_true_header) {
    std::mt19937_64 random(1);
    int num_accepted = 0;
    for (int round = 0; round < 20000; ++round) {
        // Start from a right header, so that later checks are reached too.
        auto message = make_message(make_image_header());
        const auto num_changes = random() % 4;
        for (std::size_t i = 0; i < num_changes; ++i) {
            message[4 + random() % 120] = static_cast<std::byte>(random());
        }
        forge(message, 4, wire_version);
        message.resize(random() % 2 == 0 ? message.size() : random() % 700);

        try {
            const MessageHeader header = decode_header(message);
            ++num_accepted;
            EXPECT_EQ(header_bytes + header.payload_bytes, message.size());
            EXPECT_EQ(make_message(header).size(), message.size());
        } catch (const Error&) {
        }
    }
    EXPECT_GT(num_accepted, 0);

    for (int round = 0; round < 20000; ++round) {
        std::vector<std::byte> message(random() % 300);
        std::ranges::generate(message,
                              [&] { return static_cast<std::byte>(random()); });
        EXPECT_THROW(decode_header(message), Error);
    }
}

TEST(MessageHeader, refuses_to_encode_nine_dimensions) {
    MessageHeader header{.type = {DType::f32, std::vector<std::int64_t>(9, 1)},
                         .stride_order = {0, 1, 2, 3, 4, 5, 6, 7, 8},
                         .payload_bytes = 4};

    EXPECT_THAT([&] { encode_header(header); },
                ThrowsMessage<Error>(HasSubstr("9 dimensions")));
}

TEST(MessageHeader, a_dense_message_has_128_bytes_more_than_its_tensor) {
    EXPECT_EQ(dense_message_bytes({DType::f32, {}}), 132u);
    EXPECT_EQ(dense_message_bytes({DType::bf16, {2, 3, 5, 7}}), 548u);
    EXPECT_EQ(dense_message_bytes({DType::f32, {5, 0}}), 128u);
    EXPECT_THROW(dense_message_bytes({DType::u8, {max_size, 3}}), Error);
    EXPECT_THROW(dense_message_bytes({DType::u8, {-1}}), Error);
}

TEST(MessageHeader, prints_as_one_line) {
    const std::string text = to_text(make_image_header());

    EXPECT_EQ(text,
              "gradient of value 2695938256, micro-batch 9, step "
              "72623859790382856: bf16[2,3,5,7], 420 bytes");
}

}  // namespace
}  // namespace fusionllm::test
