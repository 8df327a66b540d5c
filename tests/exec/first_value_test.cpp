#include "fusionllm/exec/first_value.hpp"

#include <cstring>
#include <fstream>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/memory_use.hpp"

namespace fusionllm::test {
namespace {

const at::Device cpu(at::kCPU);
using Kind = Initializer::Kind;

//! One parameter "w" f32 and one buffer "b".
OpGraph make_graph(std::int64_t size, TensorType buffer, Initializer start) {
    GraphBuilder builder("one");
    const TensorType type{DType::f32, {size}};
    const ValueId w = builder.add_parameter("w", type, {Kind::zeros, 0});
    const ValueId b = builder.add_buffer("b", std::move(buffer), start);
    builder.add_op("y", "aten::add.Tensor", {w, b}, type);
    return builder.build();
}

at::Tensor make_buffer(TensorType type, Initializer start) {
    const OpGraph graph = make_graph(2, std::move(type), start);
    return make_first_value(
        graph, graph.signature().buffers.front(), {1, {}}, cpu);
}

std::uint64_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::uint64_t size = 0;
    std::uint64_t resident = 0;
    file >> size >> resident;
    return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

TEST(FirstValue, takes_a_given_tensor_with_all_its_bytes) {
    // Not a whole number of pages, and some of the pieces that it is taken in.
    const std::int64_t size = 3'000'001;
    const OpGraph graph = make_graph(size, {DType::f32, {1}}, {Kind::zeros, 0});
    const at::Tensor expected = at::arange(size, at::kFloat);

    const at::Tensor value = make_first_value(
        graph,
        graph.signature().parameters.front(),
        {1,
         [&](const std::string&) { return std::optional(to_host(expected)); }},
        cpu);

    EXPECT_TRUE(at::equal(value, expected));
}

TEST(FirstValue, never_holds_a_large_tensor_twice) {
    const std::int64_t size = std::int64_t{32} << 20;  // 128 MiB
    const OpGraph graph = make_graph(size, {DType::f32, {1}}, {Kind::zeros, 0});
    const auto give = [&](const std::string&) {
        HostTensor tensor{{DType::f32, {size}}, {}};
        tensor.bytes.resize(num_bytes(tensor.type), std::byte{1});
        return std::optional(std::move(tensor));
    };
    // The peak of what came before is not above this by much: all other tests
    // of this program are small.
    const std::uint64_t before = resident_bytes();

    const at::Tensor value = make_first_value(
        graph, graph.signature().parameters.front(), {1, give}, cpu);

    ASSERT_GT(before, 0U);
    const double peak = static_cast<double>(peak_resident_bytes() - before);
    EXPECT_GE(peak, 0.9 * static_cast<double>(value.nbytes()));
    EXPECT_LT(peak, 1.3 * static_cast<double>(value.nbytes()));
    EXPECT_EQ(value.view(at::kInt).max().item<int>(), 0x01010101);
}

TEST(FirstValue, of_pairs_may_be_given_as_complex_numbers) {
    GraphBuilder builder("one");
    const TensorType pairs{DType::f32, {3, 2}};
    const ValueId w = builder.add_parameter("w", pairs, {Kind::zeros, 0});
    builder.add_op("y", "aten::relu", {w}, pairs);
    const OpGraph graph = builder.build();
    const at::Tensor complex = at::rand({3}, at::kComplexFloat);
    const auto give = [&](const std::string&) {
        return std::optional(to_host(complex));
    };

    const at::Tensor value = make_first_value(
        graph, graph.signature().parameters.front(), {1, give}, cpu);

    EXPECT_TRUE(at::equal(value, at::view_as_real(complex)));
}

TEST(FirstValue, of_a_buffer_has_its_element_type) {
    const at::Tensor counter = make_buffer({DType::i64, {}}, {Kind::zeros, 0});
    const at::Tensor flags =
        make_buffer({DType::boolean, {3}}, {Kind::ones, 0});

    EXPECT_EQ(counter.scalar_type(), at::kLong);
    EXPECT_EQ(counter.item<std::int64_t>(), 0);
    EXPECT_TRUE(at::equal(flags, at::ones({3}, at::kBool)));
}

TEST(FirstValue, of_an_integer_buffer_cannot_be_drawn) {
    try {
        make_buffer({DType::i64, {2}}, {Kind::normal, 1});
        FAIL() << "no InputError";
    } catch (const InputError& error) {
        EXPECT_STREQ(error.what(),
                     "buffer 'b' is i64[2], so its first value cannot be drawn "
                     "at random; let it start at zeros or ones, or give its "
                     "value");
    }
}

}  // namespace
}  // namespace fusionllm::test
