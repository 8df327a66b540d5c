#include "importers/operator_memory.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/rand.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/api/include/torch/version.h>

namespace fusionllm::test {
namespace {

using detail::ExportedNode;
using detail::OperatorMemory;
using detail::TensorName;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using Names = std::vector<std::optional<std::string>>;

const std::string aten = "aten::";

//! All ATen operators of this LibTorch.
std::vector<c10::OperatorHandle> all_operators() {
    std::vector<c10::OperatorHandle> handles;
    for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
        const auto handle = c10::Dispatcher::singleton().findSchema(name);
        if (name.name.starts_with(aten) && handle) {
            handles.push_back(*handle);
        }
    }
    return handles;
}

bool may_alias(const c10::OperatorHandle& handle) {
    const auto& name = handle.operator_name();
    return detail::may_alias(name.name, name.overload_name);
}

//! "Tensor(a)" or "Tensor(a)[]" among what the schema's text says it returns.
bool is_annotated(const c10::FunctionSchema& schema) {
    std::ostringstream text;
    text << schema;
    const std::string all = text.str();
    return all.find("Tensor(", all.rfind("-> ")) != all.npos;
}

//! Two by two random numbers, or the like; none for what is not simple.
std::optional<c10::IValue> example_of(const c10::Argument& argument,
                                      const at::Tensor& given) {
    const std::string type = argument.type()->str();
    if (argument.default_value()) {
        return *argument.default_value();
    }
    if (type == "Tensor") {
        return given;
    }
    if (type == "Tensor[]") {
        return c10::List<at::Tensor>({given});
    }
    if (type == "float") {
        return 0.5;
    }
    return type == "bool" ? std::optional<c10::IValue>(false) : std::nullopt;
}

bool lies_in(const at::Tensor& tensor, const at::Tensor& other) {
    return tensor.defined() && tensor.has_storage() &&
           tensor.is_alias_of(other);
}

//! Whether a result of the call lies in the memory of the first tensor; none
//! if it is not called.
std::optional<bool> returns_memory(const c10::OperatorHandle& handle) {
    const at::Tensor given = at::rand({2, 2});
    std::vector<c10::IValue> stack;
    for (const c10::Argument& argument : handle.schema().arguments()) {
        const auto example =
            example_of(argument, stack.empty() ? given : at::rand({2, 2}));
        if (!example) {
            return std::nullopt;
        }
        stack.push_back(*example);
    }
    try {
        const c10::InferenceMode no_gradients;
        handle.callBoxed(&stack);
    } catch (const std::exception&) {
        return std::nullopt;  // wants other tensors
    }
    return std::ranges::any_of(stack, [&](const c10::IValue& value) {
        const bool is_list =
            value.isTensorList() && !value.toTensorVector().empty();
        return (value.isTensor() && lies_in(value.toTensor(), given)) ||
               (is_list && lies_in(value.toTensorVector().front(), given));
    });
}

ExportedNode node(const std::string& target,
                  std::vector<detail::NamedArgument> inputs,
                  std::vector<std::string> outputs) {
    return {"torch.ops.aten." + target,
            std::move(inputs),
            std::move(outputs),
            std::nullopt,
            "",
            ""};
}

TEST(OperatorMemory, is_shared_wherever_a_schema_says_so) {
    int count = 0;
    for (const auto& handle : all_operators()) {
        if (is_annotated(handle.schema())) {
            EXPECT_TRUE(may_alias(handle)) << handle.schema();
            ++count;
        }
    }

    EXPECT_GT(count, 500);
}

TEST(OperatorMemory, is_shared_wherever_a_call_shows_it) {
    if (TORCH_VERSION_MAJOR > 1) {
        GTEST_SKIP() << "which operators can be tried so is known of 1.13";
    }
    // These end the process when they are given such tensors.
    const std::set<std::string> unsafe{
        "gru_cell", "lstm_cell", "slow_conv3d", "thnn_conv2d"};
    int count = 0;
    for (const auto& handle : all_operators()) {
        const std::string name = handle.operator_name().name.substr(6);
        if (name.starts_with('_') || name.ends_with("_backward") ||
            unsafe.contains(name) || handle.schema().is_mutable()) {
            continue;
        }
        const auto is_shared = returns_memory(handle);
        count += is_shared ? 1 : 0;
        EXPECT_TRUE(may_alias(handle) || !is_shared.value_or(false))
            << handle.schema();
    }

    EXPECT_GT(count, 300);
}

TEST(OperatorMemory, of_a_change_in_place_is_shared_by_what_is_changed_alone) {
    const OperatorMemory memory = memory_of(node(
        "add_.Tensor",
        {{"self", TensorName{"h"}, false}, {"other", TensorName{"x"}, false}},
        {"sum"}));

    EXPECT_THAT(memory.written, ElementsAre("h"));
    EXPECT_THAT(memory.shared, ElementsAre(Pair("h", "sum")));
}

TEST(OperatorMemory, of_the_tensor_that_gives_sizes_is_not_shared) {
    for (const char* target :
         {"expand_as.default", "view_as.default", "type_as.default"}) {
        const OperatorMemory memory =
            memory_of(node(target,
                           {{"self", TensorName{"h"}, false},
                            {"other", TensorName{"x"}, false}},
                           {"y"}));

        EXPECT_THAT(memory.written, IsEmpty()) << target;
        EXPECT_THAT(memory.shared, ElementsAre(Pair("h", "y"))) << target;
    }
}

TEST(OperatorMemory, of_lists_is_shared_item_by_item) {
    EXPECT_THAT(memory_of(node("chunk.default",
                               {{"self", TensorName{"h"}, false}},
                               {"a", "b"}))
                    .shared,
                UnorderedElementsAre(Pair("h", "a"), Pair("h", "b")));
    EXPECT_THAT(memory_of(node("broadcast_tensors.default",
                               {{"tensors", Names{"h", "x"}, false}},
                               {"a", "b"}))
                    .shared,
                ElementsAre(Pair("h", "a"), Pair("x", "b")));
    EXPECT_THAT(memory_of(node("einsum.default",
                               {{"equation", std::string("ij,jk"), false},
                                {"tensors", Names{"h", "x"}, false}},
                               {"a"}))
                    .shared,
                IsEmpty());
}

TEST(OperatorMemory, of_unknown_operators_may_be_all_they_are_given) {
    EXPECT_THAT(memory_of(node("of_another_version.default",
                               {{"self", TensorName{"h"}, false},
                                {"other", TensorName{"x"}, false}},
                               {"y"}))
                    .shared,
                ElementsAre(Pair("h", "y"), Pair("x", "y")));
    EXPECT_THAT(memory_of(node("rms_norm.default",
                               {{"input", TensorName{"h"}, false}},
                               {"y"}))
                    .shared,
                IsEmpty());
}

}  // namespace
}  // namespace fusionllm::test
