#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <malloc.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/codec/index_pack.hpp"
#include "fusionllm/codec/top_k_select.hpp"
#include "fusionllm/codec/value_block.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Numbers = std::vector<float>;
using Bytes = std::vector<std::byte>;
using Use = CodecKey::Use;

constexpr MatrixShape shape{30, 70};

Numbers make_numbers(std::uint64_t size, std::uint32_t seed) {
    Numbers numbers(size);
    for (std::uint64_t i = 0; i < size; ++i) {
        const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, seed}},
                                  make_philox_key(11));
        numbers[i] = static_cast<float>(
            std::ldexp(static_cast<std::int32_t>(block.words[0]), -30));
    }
    return numbers;
}

std::unique_ptr<Codec> make(const std::string& choice,
                            const MatrixShape& of = shape) {
    return make_codec(parse_codec_choice(choice, 10), of, MemorySpace::host);
}

CodecKey key_of(std::uint32_t micro_batch, Use use = Use::training) {
    CodecKey key;
    key.use = use;
    key.micro_batch = micro_batch;
    key.random = 12345 + micro_batch;
    return key;
}

Bytes encode(Codec& codec,
             Direction direction,
             const CodecKey& key,
             const Numbers& numbers,
             const MatrixShape& of = shape) {
    Bytes payload(payload_bytes(codec.spec(direction, key), of),
                  std::byte{0xff});
    codec.encode(direction, key, numbers, payload);
    return payload;
}

Numbers decode(Codec& codec,
               Direction direction,
               const CodecKey& key,
               const Bytes& payload,
               const MatrixShape& of = shape) {
    Numbers numbers(of.size(), 77.0f);
    codec.decode(direction, key, codec.spec(direction, key), payload, numbers);
    return numbers;
}

std::vector<std::uint32_t> select(const Numbers& numbers,
                                  const CodecSpec& spec,
                                  const MatrixShape& of = shape) {
    std::vector<std::uint32_t> indices(spec.kept);
    TopKSelector(of, spec.selection, spec.kept, MemorySpace::host)
        .select(numbers, indices);
    return indices;
}

Numbers keep_only(const Numbers& numbers,
                  const std::vector<std::uint32_t>& indices) {
    Numbers kept(numbers.size());
    for (const std::uint32_t i : indices) {
        kept[i] = numbers[i];
    }
    return kept;
}

bool are_same_bits(const Numbers& a, const Numbers& b) {
    return std::ranges::equal(a, b, [](float x, float y) {
        return std::bit_cast<std::uint32_t>(x) ==
               std::bit_cast<std::uint32_t>(y);
    });
}

std::string decode_error(Codec& codec,
                         Direction direction,
                         const CodecKey& key,
                         const CodecSpec& spec,
                         const Bytes& payload) {
    Numbers numbers(shape.size());
    try {
        codec.decode(direction, key, spec, payload, numbers);
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

TEST(TopKCodec, kept_elements_come_back_exactly_and_all_others_are_zero) {
    using Limits = std::numeric_limits<float>;
    for (const char* choice : {"top_k(10,fp32)", "top_k_row(10,fp32)"}) {
        for (const MatrixShape of : {MatrixShape{1, 1},
                                     MatrixShape{1, 2},
                                     MatrixShape{1, 63},
                                     MatrixShape{5, 13},
                                     MatrixShape{8, 125},
                                     MatrixShape{17, 241}}) {
            auto before = make(choice, of);
            auto after = make(choice, of);
            Numbers numbers = make_numbers(of.size(), 1);
            numbers.back() = Limits::quiet_NaN();
            numbers.front() = -Limits::infinity();
            const Numbers gradient = make_numbers(of.size(), 2);
            const CodecKey key = key_of(0);
            const auto mask =
                select(numbers, before->spec(Direction::forward, key), of);

            const Bytes sent =
                encode(*before, Direction::forward, key, numbers, of);
            const Numbers arrived =
                decode(*after, Direction::forward, key, sent, of);
            const Bytes returned =
                encode(*after, Direction::backward, key, gradient, of);
            const Numbers back =
                decode(*before, Direction::backward, key, returned, of);

            EXPECT_TRUE(are_same_bits(arrived, keep_only(numbers, mask)))
                << choice << ", " << of.rows << " x " << of.columns;
            EXPECT_TRUE(are_same_bits(back, keep_only(gradient, mask)))
                << choice << ", " << of.rows << " x " << of.columns;
        }
    }
}

TEST(TopKCodec, denormals_are_chosen_and_sent_as_other_numbers) {
    auto before = make("top_k(10,fp32)", {1, 100});
    auto after = make("top_k(10,fp32)", {1, 100});
    Numbers numbers(100);
    for (std::size_t i = 0; i < 12; ++i) {
        numbers[8 * i] = std::bit_cast<float>(static_cast<std::uint32_t>(i));
    }

    const Bytes sent =
        encode(*before, Direction::forward, key_of(0), numbers, {1, 100});
    const Numbers arrived =
        decode(*after, Direction::forward, key_of(0), sent, {1, 100});

    Numbers expected = numbers;
    expected[8] = 0;
    EXPECT_TRUE(are_same_bits(arrived, expected));
}

TEST(TopKCodec, a_message_is_indices_and_a_block_of_values) {
    for (const char* choice : {"top_k(10,int4/int3s)",
                               "top_k(100,int8)",
                               "top_k(3,bf16)",
                               "top_k(1,fp16)",
                               "top_k_row(20,int4)"}) {
        auto before = make(choice);
        auto after = make(choice);
        const Numbers numbers = make_numbers(shape.size(), 1);
        const Numbers gradient = make_numbers(shape.size(), 2);
        const CodecKey key = key_of(3);
        const CodecSpec forward = before->spec(Direction::forward, key);
        const CodecSpec backward = before->spec(Direction::backward, key);
        const auto mask = select(numbers, forward);

        const Bytes sent = encode(*before, Direction::forward, key, numbers);
        decode(*after, Direction::forward, key, sent);
        const Bytes returned =
            encode(*after, Direction::backward, key, gradient);

        const std::size_t index_bytes =
            index_layout(shape.size(), forward.kept).bytes();
        Bytes expected(payload_bytes(forward, shape));
        encode_indices(mask,
                       shape.size(),
                       std::span(expected).first(index_bytes),
                       MemorySpace::host);
        Numbers values;
        Numbers gradients;
        for (const std::uint32_t i : mask) {
            values.push_back(numbers[i]);
            gradients.push_back(gradient[i]);
        }
        encode_values(forward.values,
                      forward.rounding,
                      key.random,
                      values,
                      std::span(expected).subspan(index_bytes),
                      MemorySpace::host);
        Bytes expected_back(payload_bytes(backward, shape));
        encode_values(backward.values,
                      backward.rounding,
                      key.random,
                      gradients,
                      expected_back,
                      MemorySpace::host);
        EXPECT_EQ(forward.id, CodecId::top_k);
        EXPECT_EQ(backward.id, CodecId::masked);
        EXPECT_EQ(sent, expected) << choice;
        EXPECT_EQ(returned, expected_back) << choice;
    }
}

TEST(TopKCodec, masks_wait_for_their_own_backward) {
    auto before = make("top_k(10,fp32)");
    auto after = make("top_k(10,fp32)");
    const Numbers gradient = make_numbers(shape.size(), 9);
    std::vector<Numbers> forward;
    for (std::uint32_t i = 0; i < 3; ++i) {
        forward.push_back(make_numbers(shape.size(), i));
        const Bytes sent =
            encode(*before, Direction::forward, key_of(i), forward[i]);
        decode(*after, Direction::forward, key_of(i), sent);
    }
    const CodecSpec spec = before->spec(Direction::forward, key_of(0));

    for (std::uint32_t i = 0; i < 3; ++i) {
        const Bytes returned =
            encode(*after, Direction::backward, key_of(i), gradient);
        const Numbers back =
            decode(*before, Direction::backward, key_of(i), returned);

        EXPECT_EQ(back, keep_only(gradient, select(forward[i], spec))) << i;
    }
}

//! Bytes that are allocated now; 0 under AddressSanitizer.
std::size_t bytes_in_use() {
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

TEST(TopKCodec, memory_of_the_first_steps_serves_all_others) {
    auto before = make("top_k(10,int4)");
    auto after = make("top_k(10,int4)");
    const Numbers numbers = make_numbers(shape.size(), 1);
    const auto run_steps = [&](int num_steps) {
        for (int step = 0; step < num_steps; ++step) {
            for (std::uint32_t i = 0; i < 3; ++i) {
                const Bytes sent =
                    encode(*before, Direction::forward, key_of(i), numbers);
                decode(*after, Direction::forward, key_of(i), sent);
            }
            for (std::uint32_t i = 0; i < 3; ++i) {
                const Bytes returned =
                    encode(*after, Direction::backward, key_of(i), numbers);
                decode(*before, Direction::backward, key_of(i), returned);
            }
        }
    };

    run_steps(2);
    const std::size_t of_first = bytes_in_use();
    run_steps(100);

    // One mask a step would be 90,000.
    EXPECT_LT(bytes_in_use(), of_first + 4096);
}

TEST(TopKCodec, evaluation_leaves_nothing_and_takes_nothing) {
    auto before = make("top_k(10,fp32)");
    auto after = make("top_k(10,fp32)");
    const Numbers trained = make_numbers(shape.size(), 1);
    const Numbers evaluated = make_numbers(shape.size(), 2);
    const Numbers gradient = make_numbers(shape.size(), 3);
    const CodecKey key = key_of(0);
    const CodecKey evaluation = key_of(0, Use::evaluation);
    const auto mask = select(trained, before->spec(Direction::forward, key));

    const Bytes sent = encode(*before, Direction::forward, key, trained);
    decode(*after, Direction::forward, key, sent);
    const Bytes looked =
        encode(*before, Direction::forward, evaluation, evaluated);
    decode(*after, Direction::forward, evaluation, looked);
    const Bytes returned = encode(*after, Direction::backward, key, gradient);

    EXPECT_EQ(decode(*before, Direction::backward, key, returned),
              keep_only(gradient, mask));
}

TEST(TopKCodec, a_gradient_without_its_mask_is_refused) {
    auto before = make("top_k(10,fp32)");
    auto after = make("top_k(10,fp32)");
    const Numbers numbers = make_numbers(shape.size(), 1);
    const CodecSpec masked = before->spec(Direction::backward, key_of(4));
    const Bytes returned(payload_bytes(masked, shape));
    const auto error_of = [&](std::uint32_t micro_batch) {
        return decode_error(*before,
                            Direction::backward,
                            key_of(micro_batch),
                            masked,
                            returned);
    };

    EXPECT_NE(error_of(4).find("micro-batch 4"), std::string::npos);
    EXPECT_THROW(encode(*after, Direction::backward, key_of(4), numbers),
                 Error);
    encode(*before, Direction::forward, key_of(4), numbers);
    EXPECT_EQ(error_of(4), "");
    EXPECT_NE(error_of(4), "") << "a mask serves once";
    encode(*before, Direction::forward, key_of(5, Use::evaluation), numbers);
    EXPECT_NE(error_of(5), "") << "evaluation has no backward";
}

TEST(TopKCodec, refuses_what_is_not_its_message) {
    auto before = make("top_k(10,int4)");
    auto after = make("top_k(10,int4)");
    const CodecKey key = key_of(0);
    const CodecSpec spec = before->spec(Direction::forward, key);
    const Bytes sent =
        encode(*before, Direction::forward, key, make_numbers(shape.size(), 1));
    CodecSpec fewer = spec;
    --fewer.kept;
    CodecSpec finer = spec;
    finer.values = ValueFormat::int8;
    Bytes longer = sent;
    longer.resize(sent.size() + 8);
    Bytes wrong = sent;
    wrong[0] ^= std::byte{1};
    wrong.back() ^= std::byte{0};

    for (const CodecSpec& other : {fewer, finer}) {
        EXPECT_NE(decode_error(*after, Direction::forward, key, other, sent),
                  "");
    }
    EXPECT_NE(decode_error(*after, Direction::forward, key, spec, longer), "");
    EXPECT_NE(decode_error(*after, Direction::backward, key, spec, sent), "");
    EXPECT_EQ(decode_error(*after, Direction::forward, key, spec, sent), "");
}

TEST(TopKCodec, damaged_indices_are_refused_or_mean_others) {
    for (const char* choice : {"top_k(10,fp32)", "top_k_row(10,fp32)"}) {
        auto before = make(choice);
        auto after = make(choice);
        const CodecKey key = key_of(0);
        const CodecSpec spec = before->spec(Direction::forward, key);
        const Bytes sent = encode(
            *before, Direction::forward, key, make_numbers(shape.size(), 1));
        const std::size_t index_bytes =
            index_layout(shape.size(), spec.kept).bytes();
        int num_refused = 0;
        for (std::size_t bit = 0; bit < 8 * index_bytes; ++bit) {
            Bytes damaged = sent;
            damaged[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
            Numbers numbers(shape.size());
            try {
                after->decode(Direction::forward, key, spec, damaged, numbers);
            } catch (const Error&) {
                ++num_refused;
                continue;
            }
            // What was taken is a mask as the encoder makes them.
            std::vector<std::uint64_t> of_row(shape.rows);
            for (std::uint64_t i = 0; i < numbers.size(); ++i) {
                of_row[i / shape.columns] += numbers[i] != 0 ? 1 : 0;
            }
            if (spec.selection == Selection::row) {
                EXPECT_EQ(std::ranges::count(of_row, spec.kept / shape.rows),
                          static_cast<std::ptrdiff_t>(shape.rows));
            }
        }
        EXPECT_GT(num_refused, static_cast<int>(2 * index_bytes)) << choice;
    }
}

TEST(TopKCodec, keeps_no_state) {
    auto codec = make("top_k(10,int4)");

    EXPECT_TRUE(codec->state().empty());
    EXPECT_NO_THROW(codec->set_state({}));
    EXPECT_THROW(codec->set_state({{"basis", {}}}), InputError);
}

}  // namespace
}  // namespace fusionllm::test
