#include "fusionllm/runtime/message.hpp"

#include <limits>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();
const at::Device cpu(at::kCPU);

MessageHeader make_header(const at::Tensor& tensor) {
    MessageHeader header;
    header.kind = MessageKind::gradient;
    header.step = 12;
    header.micro_batch = 3;
    header.value = 45;
    header.type = type_of(tensor);
    return header;
}

TEST(Message, carries_elements_and_strides) {
    const at::Tensor image = at::rand({2, 3, 4, 5});
    const std::vector<at::Tensor> tensors{
        at::rand({}),
        at::rand({3, 0}),
        at::rand({3, 4}),
        at::rand({3, 4}).t(),
        image.contiguous(at::MemoryFormat::ChannelsLast),
        image.permute({3, 0, 2, 1}),
        at::rand({3, 4}, at::kDouble).to(at::kHalf),
        at::arange(7),
        at::rand({5, 3}).gt(0.5)};
    for (const at::Tensor& tensor : tensors) {
        const MessageHeader header = make_header(tensor);

        Buffer message = encode_message(header, tensor);
        const std::size_t num_bytes = message.size();
        const at::Tensor received =
            decode_message(std::move(message), header, cpu);

        EXPECT_EQ(num_bytes, dense_message_bytes(type_of(tensor)));
        EXPECT_TRUE(at::equal(received, tensor)) << tensor.sizes();
        EXPECT_EQ(received.strides(), tensor.strides());
        EXPECT_FALSE(received.requires_grad());
    }
}

TEST(Message, carries_every_bit_of_a_nan) {
    at::Tensor tensor = at::empty({1});
    *reinterpret_cast<std::uint32_t*>(tensor.data_ptr<float>()) = 0xffc12345u;
    const MessageHeader header = make_header(tensor);

    const at::Tensor received =
        decode_message(encode_message(header, tensor), header, cpu);

    EXPECT_EQ(to_host(received), to_host(tensor));
}

TEST(Message, carries_the_absence_of_a_tensor) {
    const MessageHeader header = make_header(at::rand({100}));

    Buffer message = encode_message(header, at::Tensor());

    EXPECT_EQ(message.size(), header_bytes);
    EXPECT_FALSE(has_unwanted(message, Unwanted::non_finite));
    EXPECT_FALSE(decode_message(std::move(message), header, cpu).defined());
}

TEST(Message, does_not_change_with_its_tensor) {
    at::Tensor tensor = at::ones({4});
    const MessageHeader header = make_header(tensor);
    Buffer message = encode_message(header, tensor);

    tensor.fill_(2);

    EXPECT_TRUE(at::equal(decode_message(std::move(message), header, cpu),
                          at::ones({4})));
}

TEST(Message, is_refused_unless_it_is_the_one_that_is_due) {
    const at::Tensor tensor = at::rand({2, 3});
    const MessageHeader sent = make_header(tensor);
    std::vector<MessageHeader> others(6, sent);
    others[0].kind = MessageKind::activation;
    others[1].step = 13;
    others[2].micro_batch = 4;
    others[3].value = 46;
    others[4].type.sizes = {3, 2};
    others[5].type.dtype = DType::i32;

    for (const MessageHeader& due : others) {
        try {
            decode_message(encode_message(sent, tensor), due, cpu);
            ADD_FAILURE() << to_text(due);
        } catch (const Error& error) {
            const std::string text = error.what();
            EXPECT_NE(text.find("not the one that is due"), std::string::npos)
                << text;
        }
    }
}

TEST(Message, is_refused_when_its_header_was_damaged) {
    const at::Tensor tensor = at::rand({2, 3});
    const MessageHeader header = make_header(tensor);

    for (std::size_t i = 0; i < header_bytes; i += 5) {
        Buffer message = encode_message(header, tensor);
        message.data()[i] ^= std::byte{0x10};

        EXPECT_THROW(decode_message(std::move(message), header, cpu), Error)
            << "byte " << i;
    }
}

struct Unwelcome {
    at::Tensor tensor;
    bool has_nan;
    bool has_non_finite;
};

TEST(Message, knows_of_numbers_that_are_not_welcome) {
    const float big = std::numeric_limits<float>::max();
    const float tiny = std::numeric_limits<float>::denorm_min();
    const std::vector<Unwelcome> all{
        {at::tensor({0.0f, -0.0f, big, -big, tiny}), false, false},
        {at::tensor({0.0f, infinity}), false, true},
        {at::tensor({-infinity, 0.0f}), false, true},
        {at::tensor({1.0f, 2.0f, nan}), true, true},
        {at::tensor({1.0f, -nan, 2.0f}), true, true},
        {at::full({1000}, 1.0f), false, false},
        // Only f32 is looked at: integers have no such numbers.
        {at::full({2}, 0x7fc00000, at::kInt), false, false}};
    for (const Unwelcome& one : all) {
        const Buffer message =
            encode_message(make_header(one.tensor), one.tensor);

        EXPECT_EQ(has_unwanted(message, Unwanted::nan), one.has_nan)
            << one.tensor;
        EXPECT_EQ(has_unwanted(message, Unwanted::non_finite),
                  one.has_non_finite)
            << one.tensor;
    }
}

}  // namespace
}  // namespace fusionllm::test
