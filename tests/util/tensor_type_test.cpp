#include "fusionllm/util/tensor_type.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

constexpr DType all_dtypes[] = {DType::f32,
                                DType::f64,
                                DType::f16,
                                DType::bf16,
                                DType::i64,
                                DType::i32,
                                DType::i16,
                                DType::i8,
                                DType::u8,
                                DType::boolean,
                                DType::c64,
                                DType::c128};
static_assert(std::size(all_dtypes) == num_dtypes);

TEST(TensorTypeTest, every_dtype_is_read_back_from_its_text) {
    for (const DType dtype : all_dtypes) {
        EXPECT_EQ(parse_dtype(to_text(dtype)), dtype) << to_text(dtype);
    }
}

TEST(TensorTypeTest, a_name_of_a_dtype_tells_its_bits) {
    EXPECT_EQ(to_text(DType::boolean), "bool");
    EXPECT_EQ(size_bytes(DType::boolean), 1u);
    for (const DType dtype : all_dtypes) {
        if (dtype != DType::boolean) {
            const std::string name(to_text(dtype));
            const auto digits = name.substr(name.find_first_of("0123456789"));
            EXPECT_EQ(8 * size_bytes(dtype), std::stoul(digits)) << name;
            EXPECT_EQ(is_floating_point(dtype),
                      name.find('f') != std::string::npos)
                << name;
            EXPECT_EQ(is_complex(dtype), name.front() == 'c') << name;
        }
    }
}

TEST(TensorTypeTest, a_misspelled_dtype_gets_the_right_one) {
    try {
        parse_dtype("bfloat6");
        FAIL() << "was taken";
    } catch (const InputError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("there are f32, f64"));
    }
    try {
        parse_dtype("bf61");
        FAIL() << "was taken";
    } catch (const InputError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("did you mean 'bf16'?"));
    }
}

TEST(TensorTypeTest, types_are_read_back_from_their_text) {
    const TensorType scalar{DType::f32, {}};
    const TensorType empty{DType::u8, {3, 0}};
    const TensorType batch{DType::bf16, {8, 128, 64}};

    EXPECT_EQ(to_text(scalar), "f32[]");
    EXPECT_EQ(to_text(batch), "bf16[8,128,64]");
    EXPECT_EQ(parse_tensor_type(to_text(scalar)), scalar);
    EXPECT_EQ(parse_tensor_type(to_text(empty)), empty);
    EXPECT_EQ(parse_tensor_type(to_text(batch)), batch);
    EXPECT_EQ(parse_tensor_type(" bf16[8, 128, 64] "), batch);
}

TEST(TensorTypeTest, counts_elements_and_bytes) {
    EXPECT_EQ(num_elements({DType::f32, {}}), 1);
    EXPECT_EQ(num_elements({DType::f32, {2, 3, 5}}), 30);
    EXPECT_EQ(num_elements({DType::f32, {2, 0, 5}}), 0);
    EXPECT_EQ(num_bytes({DType::f16, {2, 3, 5}}), 60u);
    EXPECT_EQ(num_bytes({DType::f32, {1 << 16, 1 << 16}}), 1ull << 34);
}

TEST(TensorTypeTest, refuses_what_is_no_type) {
    for (const char* text : {"",
                             "f32",
                             "f32[",
                             "f32]",
                             "f32[2",
                             "f32[2]x",
                             "[2]",
                             "f32[,]",
                             "f32[2,]",
                             "f32[-1]",
                             "f32[+1]",
                             "f32[1.5]",
                             "f32[2 3]",
                             "f32[99999999999999999999]",
                             "f32[4294967296,4294967296]"}) {
        EXPECT_THROW(parse_tensor_type(text), InputError) << text;
    }
}

}  // namespace
}  // namespace fusionllm::test
