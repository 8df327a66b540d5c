#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/util/error.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Numbers = std::vector<float>;
using Bytes = std::vector<std::byte>;

constexpr MatrixShape shape{9, 70};
constexpr const char* choices[] = {"int2",
                                   "int4/int3s",
                                   "top_k(10,int4)",
                                   "top_k_row(10,int8)",
                                   "subspace(10,int4)",
                                   "paper(10)"};

std::unique_ptr<Codec> make(const std::string& text) {
    return make_codec(parse_codec_choice(text, 1), shape, MemorySpace::host);
}

Numbers make_numbers(int seed) {
    Numbers numbers;
    for (std::uint64_t i = 0; i < shape.size(); ++i) {
        const auto phase = static_cast<float>(i * i % 1009 + 1);
        numbers.push_back(std::sin(phase * static_cast<float>(seed + 1)));
    }
    return numbers;
}

CodecKey key_of(std::uint32_t micro_batch) {
    CodecKey key;
    key.micro_batch = micro_batch;
    key.random = 5 + micro_batch;
    return key;
}

//! What is decoded at the other end.
Numbers pass(Codec& from,
             Codec& to,
             Direction direction,
             const CodecKey& key,
             const Numbers& numbers) {
    const CodecSpec spec = from.spec(direction, key);
    Bytes payload(payload_bytes(spec, shape));
    from.encode(direction, key, numbers, payload);
    Numbers decoded(shape.size());
    to.decode(direction, key, spec, payload, decoded);
    return decoded;
}

Numbers residual(const Codec& codec, const std::string& name) {
    for (const CodecState& state : codec.state()) {
        if (state.name == name) {
            Numbers numbers(shape.size());
            std::memcpy(numbers.data(),
                        state.tensor.bytes.data(),
                        state.tensor.bytes.size());
            return numbers;
        }
    }
    return {};
}

Numbers add(const Numbers& a, const Numbers& b) {
    Numbers sum;
    for (std::size_t i = 0; i < a.size(); ++i) {
        sum.push_back(a[i] + b[i]);
    }
    return sum;
}

Numbers subtract(const Numbers& a, const Numbers& b) {
    Numbers difference;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference.push_back(a[i] - b[i]);
    }
    return difference;
}

TEST(ErrorFeedback, keeps_what_was_lost_and_adds_it_to_the_next) {
    for (const std::string text : choices) {
        const auto before = make(text + "+feedback");
        const auto after = make(text + "+feedback");
        Numbers lost(shape.size(), 0.0f);
        Numbers lost_back(shape.size(), 0.0f);
        for (std::uint32_t m = 0; m < 4; ++m) {
            const Numbers wanted = add(make_numbers(static_cast<int>(m)), lost);
            const Numbers came = pass(*before,
                                      *after,
                                      Direction::forward,
                                      key_of(m),
                                      make_numbers(static_cast<int>(m)));
            lost = subtract(wanted, came);
            EXPECT_EQ(residual(*before, "forward_residual"), lost) << text;
            EXPECT_TRUE(residual(*after, "forward_residual").empty());
        }
        for (std::uint32_t m = 0; m < 4; ++m) {
            const Numbers gradient = make_numbers(9 + static_cast<int>(m));
            const Numbers wanted = add(gradient, lost_back);
            const Numbers came =
                pass(*after, *before, Direction::backward, key_of(m), gradient);
            lost_back = subtract(wanted, came);
            EXPECT_EQ(residual(*after, "backward_residual"), lost_back) << text;
            EXPECT_TRUE(residual(*before, "backward_residual").empty());
        }
        EXPECT_EQ(residual(*before, "forward_residual"), lost) << text;
    }
}

TEST(ErrorFeedback, sends_what_the_codec_makes_of_the_sum) {
    for (const std::string text : choices) {
        const auto fed = make(text + "+feedback");
        const auto plain = make(text);
        const auto listener = make(text);
        pass(*fed, *listener, Direction::forward, key_of(0), make_numbers(0));
        pass(*plain,
             *make(text),
             Direction::forward,
             key_of(0),
             make_numbers(0));
        const Numbers sum =
            add(make_numbers(1), residual(*fed, "forward_residual"));
        const CodecSpec spec = fed->spec(Direction::forward, key_of(1));
        Bytes payload(payload_bytes(spec, shape));
        Bytes expected(payload.size());

        fed->encode(Direction::forward, key_of(1), make_numbers(1), payload);

        ASSERT_EQ(plain->spec(Direction::forward, key_of(1)), spec) << text;
        plain->encode(Direction::forward, key_of(1), sum, expected);
        EXPECT_EQ(payload, expected) << text;
    }
}

TEST(ErrorFeedback, what_arrives_in_the_long_run_is_what_was_sent) {
    const auto before = make("int2+feedback");
    const auto plain = make("int2");
    const auto after = make("int2");
    const Numbers numbers = make_numbers(3);
    constexpr int num_messages = 50;
    Numbers sum(shape.size(), 0.0f);
    Numbers sum_of_plain(shape.size(), 0.0f);

    for (std::uint32_t m = 0; m < num_messages; ++m) {
        const auto key = key_of(m);
        sum = add(sum, pass(*before, *after, Direction::forward, key, numbers));
        sum_of_plain =
            add(sum_of_plain,
                pass(*plain, *after, Direction::forward, key, numbers));
    }

    float worst = 0;
    float worst_of_plain = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        worst = std::max(worst, std::abs(sum[i] / num_messages - numbers[i]));
        worst_of_plain =
            std::max(worst_of_plain,
                     std::abs(sum_of_plain[i] / num_messages - numbers[i]));
    }
    // The residual, below one step of 2/3 of the largest, over the messages.
    EXPECT_LT(worst, 0.04f);
    EXPECT_GT(worst_of_plain, 0.3f);
}

TEST(ErrorFeedback, evaluation_is_the_plain_codec) {
    const auto fed = make("int4+feedback");
    const auto plain = make("int4");
    pass(*fed, *plain, Direction::forward, key_of(0), make_numbers(0));
    const auto state = fed->state();
    CodecKey key;
    key.use = CodecKey::Use::evaluation;

    const Numbers came =
        pass(*fed, *plain, Direction::forward, key, make_numbers(1));

    EXPECT_EQ(came,
              pass(*plain, *plain, Direction::forward, key, make_numbers(1)));
    EXPECT_EQ(fed->state(), state);
}

TEST(ErrorFeedback, refuses_a_residual_of_another_size) {
    const auto codec = make("int4+feedback");
    CodecState state{"forward_residual", {{DType::f32, {9, 70}}, {}}};
    state.tensor.bytes.resize(4 * 9 * 70 - 4);

    EXPECT_THROW(codec->set_state({state}), InputError);
    state.tensor.bytes.resize(4 * 9 * 70);
    codec->set_state({state});
    EXPECT_EQ(codec->state(), std::vector<CodecState>{state});
    state.tensor.type.sizes = {70, 9};
    EXPECT_THROW(codec->set_state({state}), InputError);
}

TEST(ErrorFeedback, forgets_when_nothing_is_set) {
    const auto codec = make("int4+feedback");
    pass(*codec, *make("int4"), Direction::forward, key_of(0), make_numbers(0));

    codec->set_state({});

    EXPECT_TRUE(codec->state().empty());
}

}  // namespace
}  // namespace fusionllm::test
