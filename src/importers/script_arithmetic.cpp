#include "script_arithmetic.hpp"

#include <cmath>
#include <limits>

namespace fusionllm::detail {
namespace {

//! Whether it was whole, and what it is.
struct Number {
    bool is_whole = true;
    std::int64_t whole = 0;
    double real = 0;
};

std::optional<Number> to_number(const ScriptValue& value) {
    if (const auto* whole = std::get_if<std::int64_t>(&value)) {
        return Number{true, *whole, static_cast<double>(*whole)};
    }
    if (const auto* truth = std::get_if<bool>(&value)) {
        return Number{true, *truth ? 1 : 0, *truth ? 1.0 : 0.0};
    }
    if (const auto* real = std::get_if<double>(&value)) {
        return Number{false, 0, *real};
    }
    return std::nullopt;
}

std::optional<ScriptValue> if_finite(double value) {
    return std::isfinite(value) ? std::optional(ScriptValue(value))
                                : std::nullopt;
}

bool is_identity(std::string_view name) {
    return name == "to" || name == "detach" || name == "clone" ||
           name == "contiguous" || name == "alias" || name == "lift_fresh";
}

std::optional<ScriptValue> compute_one(std::string_view name, const Number& a) {
    if (name == "neg") {
        return a.is_whole && a.whole != std::numeric_limits<std::int64_t>::min()
                   ? std::optional(ScriptValue(-a.whole))
                   : if_finite(-a.real);
    }
    if (name == "sqrt") {
        return if_finite(std::sqrt(a.real));
    }
    if (name == "floor" || name == "ceil") {
        const double rounded =
            name == "floor" ? std::floor(a.real) : std::ceil(a.real);
        return a.is_whole ? std::optional(ScriptValue(a.whole))
                          : if_finite(rounded);
    }
    return std::nullopt;
}

std::optional<ScriptValue> compute_whole(std::string_view name,
                                         std::int64_t a,
                                         std::int64_t b) {
    std::int64_t result = 0;
    if (name == "add") {
        return __builtin_add_overflow(a, b, &result)
                   ? std::nullopt
                   : std::optional(ScriptValue(result));
    }
    if (name == "sub") {
        return __builtin_sub_overflow(a, b, &result)
                   ? std::nullopt
                   : std::optional(ScriptValue(result));
    }
    if (name == "mul") {
        return __builtin_mul_overflow(a, b, &result)
                   ? std::nullopt
                   : std::optional(ScriptValue(result));
    }
    if (name == "trunc_divide" && b != 0 && b != -1) {
        return ScriptValue(a / b);
    }
    const bool is_division =
        name == "floor_divide" || name == "floordiv" || name == "remainder";
    // The only quotient that is too large is that of the least number by -1.
    if (is_division && b != 0 && b != -1) {
        const std::int64_t rest = a % b;
        const bool is_below = rest != 0 && (rest < 0) != (b < 0);
        return name == "remainder" ? rest + (is_below ? b : 0)
                                   : a / b - (is_below ? 1 : 0);
    }
    return std::nullopt;
}

std::optional<ScriptValue> compute_two(std::string_view name,
                                       const Number& a,
                                       const Number& b) {
    if (a.is_whole && b.is_whole) {
        if (auto whole = compute_whole(name, a.whole, b.whole)) {
            return whole;
        }
    }
    if (name == "div" || name == "true_divide") {
        return if_finite(a.real / b.real);
    }
    if (a.is_whole && b.is_whole) {
        return std::nullopt;
    }
    if (name == "add") {
        return if_finite(a.real + b.real);
    }
    if (name == "sub") {
        return if_finite(a.real - b.real);
    }
    if (name == "mul") {
        return if_finite(a.real * b.real);
    }
    if (name == "floor_divide") {
        return if_finite(std::floor(a.real / b.real));
    }
    if (name == "trunc_divide") {
        return if_finite(std::trunc(a.real / b.real));
    }
    return std::nullopt;
}

//! Rounding of a quotient, where it is given.
std::string_view with_rounding(std::string_view name,
                               const ScriptArguments& arguments) {
    for (const auto& [key, value] : arguments.keywords) {
        const auto* mode = std::get_if<std::string>(&value);
        if (name == "div" && key == "rounding_mode" && mode != nullptr) {
            return *mode == "floor"   ? "floor_divide"
                   : *mode == "trunc" ? "trunc_divide"
                                      : "";
        }
    }
    return name;
}

}  // namespace

std::optional<ScriptValue> compute_numbers(std::string_view name,
                                           const ScriptArguments& arguments) {
    const auto& given = arguments.positional;
    if (given.empty()) {
        return std::nullopt;
    }
    const auto a = to_number(given[0]);
    if (!a) {
        return std::nullopt;
    }
    if (is_identity(name)) {
        return given[0];
    }
    if (given.size() == 1) {
        return compute_one(name, *a);
    }
    const auto b = to_number(given[1]);
    const auto* factor =
        given.size() == 3 ? std::get_if<std::int64_t>(&given[2]) : nullptr;
    const bool is_plain =
        given.size() == 2 || (factor != nullptr && *factor == 1);
    if (!b || !is_plain) {
        return std::nullopt;
    }
    const std::string_view operation = with_rounding(name, arguments);
    return operation == "rsub" ? compute_two("sub", *b, *a)
                               : compute_two(operation, *a, *b);
}

}  // namespace fusionllm::detail
