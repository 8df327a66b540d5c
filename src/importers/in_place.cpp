#include "in_place.hpp"

#include <string>

#include "fusionllm/util/error.hpp"

#include "operator_schema.hpp"

namespace fusionllm::detail {
namespace {

//! Where the other operator is not the same overload without the "_".
struct Form {
    std::string_view in_place;
    std::string_view overload;
    std::string_view functional;
    std::string_view functional_overload;
};
constexpr Form forms[] = {
    {"aten::bernoulli_", "float", "aten::bernoulli", "p"},
    {"aten::float_power_", "Tensor", "aten::float_power", "Tensor_Tensor"},
    {"aten::floor_divide_", "Tensor", "aten::floor_divide", ""},
    {"aten::ldexp_", "", "aten::ldexp", "Tensor"},
    {"aten::normal_", "", "aten::normal_functional", ""},
    {"aten::pow_", "Tensor", "aten::pow", "Tensor_Tensor"},
    {"aten::transpose_", "", "aten::transpose", "int"}};

std::pair<std::string, std::string> find_form(const Call& call) {
    for (const Form& form : forms) {
        if (form.in_place == call.target && form.overload == call.overload) {
            return {std::string(form.functional),
                    std::string(form.functional_overload)};
        }
    }
    std::string target = call.target;
    if (target.starts_with("aten::__i")) {
        target.erase(target.find("__i") + 2, 1);
    } else {
        target.pop_back();
    }
    return {target, call.overload};
}

}  // namespace

bool is_in_place(std::string_view target) {
    return target.ends_with("__") ? target.starts_with("aten::__i")
                                  : target.ends_with('_');
}

Call make_functional(Call call) {
    const auto [target, overload] = find_form(call);
    FUSIONLLM_VALIDATE(
        find_operator(target, overload) ||
            !find_operator(call.target, call.overload),
        "{} changes a tensor in place{}, and LibTorch has no operator that "
        "makes a new tensor instead; write this part with PyTorch's functions "
        "that make new tensors",
        full_name(call),
        call.where);
    call.target = target;
    call.overload = overload;
    for (auto& [name, argument] : call.arguments) {
        if (name == "self" && target.ends_with("dropout")) {
            name = "input";
        }
    }
    return call;
}

}  // namespace fusionllm::detail
