#include "fusionllm/exec/tensor.hpp"

#include <algorithm>
#include <span>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

using Order = std::vector<std::uint8_t>;
using Sizes = std::vector<std::int64_t>;

TEST(DTypes, go_to_libtorch_and_back) {
    for (int number = 0; number < num_dtypes; ++number) {
        const auto dtype = static_cast<DType>(number);

        const at::ScalarType type = to_scalar_type(dtype);

        EXPECT_EQ(to_dtype(type), dtype);
        EXPECT_EQ(at::elementSize(type), size_bytes(dtype));
    }
}

TEST(DTypes, leave_out_quantised_numbers) {
    EXPECT_THROW(to_dtype(at::kQInt8), Error);
}

struct Layout {
    std::string name;
    at::Tensor tensor;
    Order order;
};

std::vector<Layout> make_layouts() {
    const at::Tensor image = at::rand({2, 3, 4, 5});
    return {
        {"scalar", at::rand({}), {}},
        {"row_major", at::rand({2, 3}), {0, 1}},
        {"transposed", at::rand({2, 3}).t(), {1, 0}},
        {"channels_last",
         image.contiguous(at::MemoryFormat::ChannelsLast),
         {0, 2, 3, 1}},
        {"permuted", image.permute({3, 0, 2, 1}), {1, 3, 2, 0}},
        {"part_of_a_split", at::rand({4, 6}).split(2, 1)[1], {0, 1}},
        {"rows_of_a_split", at::rand({4, 6}).split(2, 0)[1], {0, 1}},
        {"every_second", at::rand({8}).slice(0, 0, 8, 2), {0}},
        {"overlapping", at::rand({8}).unfold(0, 3, 1), {0, 1}},
        {"expanded_rows", at::rand({3}).expand({4, 3}), {0, 1}},
        {"expanded_columns", at::rand({3, 1}).expand({3, 4}), {0, 1}},
        {"expanded_scalar", at::rand({}).expand({2, 3, 4}), {0, 1, 2}},
        {"odd_strides_of_ones",
         at::rand({12}).as_strided({3, 1, 4}, {4, 77, 1}),
         {0, 1, 2}},
        {"one_channel",
         at::rand({2, 1, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast),
         {0, 1, 2, 3}},
        {"all_ones", at::rand({1, 1, 1}), {0, 1, 2}},
        {"empty", at::rand({2, 0, 3}), {0, 1, 2}},
        {"conjugate", at::rand({2, 3}, at::kComplexFloat).conj(), {0, 1}},
        {"imaginary",
         at::imag(at::rand({2, 3}, at::kComplexFloat).conj()),
         {0, 1}},
        {"integers", at::arange(6).view({2, 3}).t(), {1, 0}},
        {"flags", at::rand({5, 3}).gt(0.5).t(), {1, 0}},
    };
}

class Layouts : public testing::TestWithParam<Layout> {
public:
    static std::string name(const testing::TestParamInfo<Layout>& info) {
        return info.param.name;
    }
};

TEST_P(Layouts, are_made_dense_and_canonical_without_a_change) {
    const at::Tensor& tensor = GetParam().tensor;

    const at::Tensor normal = normalise(tensor);

    EXPECT_TRUE(at::equal(normal, tensor));
    EXPECT_EQ(stride_order(normal), GetParam().order);
    EXPECT_EQ(normal.strides().vec(),
              dense_strides(tensor.sizes().vec(), GetParam().order));
    EXPECT_TRUE(normal.is_non_overlapping_and_dense());
}

TEST_P(Layouts, stay_as_they_are_once_normal) {
    const at::Tensor normal = normalise(GetParam().tensor);

    EXPECT_TRUE(normalise(normal).is_same(normal));
}

TEST_P(Layouts, keep_elements_and_strides_through_bytes) {
    const at::Tensor normal = normalise(GetParam().tensor);
    constexpr std::size_t offset = 128;
    Buffer buffer(offset + normal.nbytes());

    copy_to_bytes(normal, buffer.data() + offset);
    const at::Tensor view = view_of_buffer(std::move(buffer),
                                           offset,
                                           type_of(normal),
                                           stride_order(normal),
                                           at::Device(at::kCPU));

    EXPECT_TRUE(at::equal(view, normal));
    EXPECT_EQ(view.strides(), normal.strides());
}

TEST_P(Layouts, are_row_major_as_host_tensors) {
    const at::Tensor& tensor = GetParam().tensor;

    const HostTensor host = to_host(tensor);

    EXPECT_EQ(host.type, type_of(tensor));
    EXPECT_EQ(host.bytes.size(), num_bytes(host.type));
    const at::Tensor back = from_host(host, at::Device(at::kCPU));
    EXPECT_TRUE(at::equal(back, tensor));
    EXPECT_TRUE(back.is_contiguous());
}

INSTANTIATE_TEST_SUITE_P(Tensor,
                         Layouts,
                         testing::ValuesIn(make_layouts()),
                         Layouts::name);

TEST(Normalise, does_not_copy_what_is_dense) {
    const at::Tensor transposed = at::rand({3, 4}).t();
    const at::Tensor odd = at::rand({12}).as_strided({3, 1, 4}, {4, 77, 1});

    EXPECT_EQ(normalise(transposed).data_ptr(), transposed.data_ptr());
    EXPECT_EQ(normalise(odd).data_ptr(), odd.data_ptr());
}

TEST(Normalise, lets_gradients_through) {
    for (const bool is_dense : {false, true}) {
        const at::Tensor x = at::rand({12}).requires_grad_(true);
        const at::Tensor part = is_dense ? x.as_strided({3, 1, 4}, {4, 77, 1})
                                         : x.view({3, 4}).narrow(1, 1, 2);
        const at::Tensor weights = at::rand(part.sizes());

        const auto plain = torch::autograd::grad({(part * weights).sum()}, {x});
        const at::Tensor again = is_dense ? x.as_strided({3, 1, 4}, {4, 77, 1})
                                          : x.view({3, 4}).narrow(1, 1, 2);
        const auto through =
            torch::autograd::grad({(normalise(again) * weights).sum()}, {x});

        EXPECT_TRUE(at::equal(through[0], plain[0])) << is_dense;
    }
}

TEST(ViewOfBuffer, keeps_the_bytes_alive) {
    Buffer buffer(8);
    const float numbers[] = {1.5f, -2.5f};
    std::ranges::copy(std::as_bytes(std::span(numbers)), buffer.data());

    const at::Tensor view = view_of_buffer(
        std::move(buffer), 0, {DType::f32, {2}}, {0}, at::Device(at::kCPU));

    EXPECT_TRUE(at::equal(view, at::tensor({1.5f, -2.5f})));
}

TEST(ParseDevice, takes_cpu_and_refuses_other_words) {
    EXPECT_EQ(parse_device("cpu", 3), at::Device(at::kCPU));
    EXPECT_THROW(parse_device("gpu", 0), InputError);
}

TEST(ParseDevice, gives_a_cuda_device_or_says_what_to_use) {
    try {
        EXPECT_EQ(parse_device("cuda", 0).type(), at::kCUDA);
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("use device = \"cpu\""),
                  std::string::npos)
            << error.what();
    }
}

}  // namespace
}  // namespace fusionllm::test
