// What holds for every codec, whatever it does to the numbers.

#include <algorithm>
#include <bit>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Numbers = std::vector<float>;
using Bytes = std::vector<std::byte>;
using Use = CodecKey::Use;

constexpr std::uint32_t num_micro_batches = 2;

//! Rows that are not of full rank, and not alike.
Numbers make_numbers(const MatrixShape& shape, std::uint64_t seed) {
    Numbers numbers;
    for (std::uint64_t i = 0; i < shape.size(); ++i) {
        const auto block = philox({{static_cast<std::uint32_t>(i), 3, 1, 0}},
                                  make_philox_key(seed));
        const auto u = static_cast<float>(
            static_cast<std::int32_t>(block.words[0]) * 0x1p-31);
        const auto column = static_cast<float>(i % shape.columns + 1);
        numbers.push_back(u * u * u / column);
    }
    return numbers;
}

//! Bit by bit: NaN equals itself.
std::vector<std::uint32_t> bits(const Numbers& numbers) {
    std::vector<std::uint32_t> result;
    for (const float number : numbers) {
        result.push_back(std::bit_cast<std::uint32_t>(number));
    }
    return result;
}

struct Message {
    CodecSpec spec;
    Bytes payload;
    Numbers decoded;

    friend bool operator==(const Message& a, const Message& b) {
        return a.spec == b.spec && a.payload == b.payload &&
               bits(a.decoded) == bits(b.decoded);
    }
};

//! A value's fence: an end before it and one after.
struct Fence {
    MatrixShape shape;
    std::unique_ptr<Codec> before;
    std::unique_ptr<Codec> after;

    Fence(const std::string& text, const MatrixShape& of) : shape(of) {
        before = make(text);
        after = make(text);
    }

    std::unique_ptr<Codec> make(const std::string& text) const {
        return make_codec(
            parse_codec_choice(text, 10), shape, MemorySpace::host);
    }

    Message pass(Direction direction,
                 const CodecKey& key,
                 const Numbers& numbers) {
        const bool is_forward = direction == Direction::forward;
        Codec& from = is_forward ? *before : *after;
        Codec& to = is_forward ? *after : *before;
        Message message;
        message.spec = from.spec(direction, key);
        message.payload.assign(payload_bytes(message.spec, shape),
                               std::byte{0x5A});
        from.encode(direction, key, numbers, message.payload);
        message.decoded.assign(shape.size(), -77.0f);
        to.decode(
            direction, key, message.spec, message.payload, message.decoded);
        return message;
    }

    //! Forward of all micro-batches, then backward.
    std::vector<Message> step(std::uint64_t number) {
        std::vector<Message> messages;
        for (const Direction direction :
             {Direction::forward, Direction::backward}) {
            for (std::uint32_t m = 0; m < num_micro_batches; ++m) {
                const auto id = static_cast<std::uint64_t>(direction) + 2 * m;
                messages.push_back(
                    pass(direction,
                         key_of(number, m, direction),
                         make_numbers(shape, 100 * number + id)));
            }
        }
        return messages;
    }

    static CodecKey key_of(std::uint64_t step,
                           std::uint32_t micro_batch,
                           Direction direction) {
        CodecKey key;
        key.micro_batch = micro_batch;
        key.random = derive_key(
            derive_key(step, micro_batch),
            direction == Direction::forward ? "forward" : "backward");
        key.wants_new_basis = step == 2 && micro_batch == 0;
        return key;
    }

    Message evaluate(std::uint64_t seed) {
        CodecKey key;
        key.use = Use::evaluation;
        key.random = seed;
        return pass(Direction::forward, key, make_numbers(shape, seed));
    }
};

constexpr MatrixShape shapes[] = {
    {1, 1}, {3, 5}, {33, 70}, {130, 64}, {2, 257}};

class CodecLaw : public testing::TestWithParam<std::string> {};

TEST_P(CodecLaw, the_same_comes_out_twice) {
    for (const MatrixShape& shape : shapes) {
        Fence one(GetParam(), shape);
        Fence two(GetParam(), shape);
        for (std::uint64_t step = 0; step < 4; ++step) {
            two.evaluate(step);

            EXPECT_EQ(one.step(step), two.step(step))
                << shape.rows << " x " << shape.columns << ", step " << step;
        }
        EXPECT_EQ(one.evaluate(9), two.evaluate(9));
    }
}

TEST_P(CodecLaw, evaluation_leaves_nothing_behind) {
    Fence fence(GetParam(), {33, 70});
    const auto fresh = fence.before->state();
    fence.evaluate(1);
    EXPECT_EQ(fence.before->state(), fresh);
    fence.step(0);
    const auto before = fence.before->state();
    const auto after = fence.after->state();

    const Message message = fence.evaluate(1);

    EXPECT_EQ(fence.before->state(), before);
    EXPECT_EQ(fence.after->state(), after);
    EXPECT_FALSE(message.spec.carries_basis);
    EXPECT_EQ(fence.evaluate(1), message);
}

TEST_P(CodecLaw, a_run_goes_on_bit_by_bit_from_its_state) {
    Fence whole(GetParam(), {33, 70});
    whole.step(0);
    whole.step(1);
    Fence resumed(GetParam(), {33, 70});
    resumed.before->set_state(whole.before->state());
    resumed.after->set_state(whole.after->state());
    EXPECT_EQ(resumed.before->state(), whole.before->state());
    EXPECT_EQ(resumed.after->state(), whole.after->state());

    for (std::uint64_t step = 2; step < 4; ++step) {
        EXPECT_EQ(resumed.step(step), whole.step(step)) << step;
    }
}

//! "basis f32[70,9]" and the like.
std::vector<std::string> describe(const std::vector<CodecState>& states) {
    std::vector<std::string> texts;
    for (const CodecState& state : states) {
        EXPECT_EQ(state.tensor.bytes.size(), num_bytes(state.tensor.type));
        texts.push_back(state.name + " " + to_text(state.tensor.type));
    }
    return texts;
}

TEST_P(CodecLaw, keeps_a_basis_at_both_ends_and_residuals_where_it_encodes) {
    const CodecChoice choice = parse_codec_choice(GetParam(), 10);
    const MatrixShape shape{33, 70};
    Fence fence(GetParam(), shape);
    std::vector<std::string> before;
    std::vector<std::string> after;
    if (choice.id == CodecId::subspace) {
        const CodecSpec spec = resolve(choice, shape).forward;
        before.push_back(fmt::format(
            "basis f32[{},{}]", basis_rows(spec, shape), spec.kept));
        after = before;
    }
    if (choice.has_feedback) {
        before.push_back("forward_residual f32[33,70]");
        after.push_back("backward_residual f32[33,70]");
    }

    fence.step(0);

    EXPECT_EQ(describe(fence.before->state()), before);
    EXPECT_EQ(describe(fence.after->state()), after);
}

TEST_P(CodecLaw, refuses_a_state_that_is_not_its_own) {
    Fence fence(GetParam(), {33, 70});
    const HostTensor tensor{{DType::f32, {1}}, Bytes(4)};

    EXPECT_THROW(fence.before->set_state({{"momentum", tensor}}), InputError);
    EXPECT_THROW(fence.before->set_state({{"basis", tensor}}), InputError);
    EXPECT_THROW(fence.before->set_state({{"forward_residual", tensor}}),
                 InputError);
}

TEST_P(CodecLaw, refuses_what_another_codec_sent) {
    const MatrixShape shape{33, 70};
    const CodecKey key = Fence::key_of(0, 0, Direction::forward);
    Fence fence(GetParam(), shape);
    const CodecSpec own = fence.before->spec(Direction::forward, key);
    for (const char* text : {"fp32",
                             "bf16",
                             "int8",
                             "int3s",
                             "top_k(7,fp16)",
                             "subspace(7,fp16)",
                             "paper(9)"}) {
        Fence other(text, shape);
        const CodecSpec spec = other.before->spec(Direction::forward, key);
        const Bytes payload(payload_bytes(spec, shape));
        Numbers numbers(shape.size());

        if (spec != own) {
            EXPECT_THROW(fence.after->decode(
                             Direction::forward, key, spec, payload, numbers),
                         Error)
                << text;
        }
    }
}

TEST_P(CodecLaw, refuses_a_payload_of_another_size) {
    const MatrixShape shape{33, 70};
    const CodecKey key = Fence::key_of(0, 0, Direction::forward);
    Fence fence(GetParam(), shape);
    const CodecSpec spec = fence.before->spec(Direction::forward, key);
    const std::size_t size = payload_bytes(spec, shape);
    Numbers numbers(shape.size());

    for (const std::size_t wrong : {std::size_t{0}, size - 8, size + 8}) {
        EXPECT_THROW(fence.after->decode(
                         Direction::forward, key, spec, Bytes(wrong), numbers),
                     Error)
            << wrong;
    }
}

//! Any outcome is right but a crash, a hang or a write out of range.
TEST_P(CodecLaw, survives_bytes_of_nobody) {
    const MatrixShape shape{33, 70};
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        Fence fence(GetParam(), shape);
        const CodecKey key = Fence::key_of(0, 0, Direction::forward);
        const CodecSpec spec = fence.before->spec(Direction::forward, key);
        Bytes payload(payload_bytes(spec, shape));
        if (seed % 2 == 0) {
            fence.before->encode(
                Direction::forward, key, make_numbers(shape, 1), payload);
        }
        for (std::size_t i = seed % 2 == 0 ? seed : 0; i < payload.size();
             i += seed % 2 == 0 ? 97 : 1) {
            payload[i] = static_cast<std::byte>(derive_key(seed, i));
        }
        Numbers memory(shape.size() + 2, -77.0f);

        try {
            fence.after->decode(Direction::forward,
                                key,
                                spec,
                                payload,
                                std::span(memory).subspan(1, shape.size()));
        } catch (const Error&) {
        }

        EXPECT_EQ(memory.front(), -77.0f);
        EXPECT_EQ(memory.back(), -77.0f);
    }
}

TEST_P(CodecLaw, sends_zeros_as_zeros) {
    const MatrixShape shape{33, 70};
    Fence fence(GetParam(), shape);
    const CodecKey key = Fence::key_of(0, 0, Direction::forward);

    const Message message =
        fence.pass(Direction::forward, key, Numbers(shape.size(), 0.0f));

    EXPECT_EQ(message.decoded, Numbers(shape.size(), 0.0f));
}

TEST_P(CodecLaw, takes_a_tensor_without_elements) {
    Fence fence(GetParam(), {0, 0});

    for (const Message& message : fence.step(0)) {
        EXPECT_TRUE(message.payload.empty());
    }
    EXPECT_TRUE(fence.before->state().empty());
}

TEST_P(CodecLaw, says_so_when_kokkos_cannot_reach_the_memory) {
    if (kokkos_has_cuda()) {
        GTEST_SKIP() << "this Kokkos reaches CUDA memory";
    }
    EXPECT_THROW(
        make_codec(
            parse_codec_choice(GetParam(), 10), {33, 70}, MemorySpace::cuda),
        Error);
}

INSTANTIATE_TEST_SUITE_P(All,
                         CodecLaw,
                         testing::Values("fp32",
                                         "bf16",
                                         "fp16",
                                         "int8",
                                         "int6",
                                         "int5s",
                                         "int4",
                                         "int3",
                                         "int2",
                                         "int8s",
                                         "int4/int3s",
                                         "int4/int2s",
                                         "fp32/int4",
                                         "int8/bf16",
                                         "top_k(10,int4)",
                                         "top_k(100,fp32)",
                                         "top_k(3,int8/int3s)",
                                         "top_k_row(8,int4/int3s)",
                                         "subspace(8,int4)",
                                         "subspace(3,int8/int3s)",
                                         "subspace(1,fp32)",
                                         "subspace(1,graded/int3s)",
                                         "subspace(8,graded/int4s)",
                                         "subspace(6,graded5)",
                                         "subspace(5,graded6/int3s)",
                                         "paper(3.2)",
                                         "int2+feedback",
                                         "int4/int3s+feedback",
                                         "top_k(10,int4)+feedback",
                                         "top_k_row(8,int8)+feedback",
                                         "subspace(8,int4)+feedback",
                                         "paper(10)+feedback"),
                         [](const auto& info) {
                             std::string name = info.param;
                             for (char& letter : name) {
                                 if (std::isalnum(static_cast<unsigned char>(
                                         letter)) == 0) {
                                     letter = '_';
                                 }
                             }
                             return name;
                         });

}  // namespace
}  // namespace fusionllm::test
