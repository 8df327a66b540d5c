#include "fusionllm/plan/codec_error.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

//! Of normal numbers in tiles of 128.
double number_error(const ValueChoice& values) {
    const bool is_nearest = values.rounding == Rounding::nearest;
    switch (values.format) {
        case ValueFormat::native:
        case ValueFormat::f32:
            return 0;
        case ValueFormat::bf16:
            return 0.002;
        case ValueFormat::f16:
            return 0.0002;
        case ValueFormat::int8:
            return 0.0065;
        case ValueFormat::int6:
            return 0.027;
        case ValueFormat::int5:
            return 0.055;
        case ValueFormat::int4:
            return 0.118;
        case ValueFormat::int3:
            return is_nearest ? 0.214 : 0.275;
        case ValueFormat::int2:
            return is_nearest ? 0.345 : 0.554;
        case ValueFormat::graded:  // in a subspace: see prior_error
        case ValueFormat::graded6:
        case ValueFormat::graded5:
            return 0;
    }
    throw ContractError("a format of values that has no error");
}

//! The share of the squares that is sent.
double kept_squares(const CodecChoice& choice) {
    const double ratio = choice.element_ratio;
    switch (choice.id) {
        case CodecId::dense:
        case CodecId::quantised:
            return 1;
        case CodecId::subspace:
            return 0.75 * std::pow(ratio, -0.12);
        case CodecId::top_k:
        case CodecId::masked:
        case CodecId::paper_top_k:
            break;
    }
    return std::pow(ratio, choice.selection == Selection::row ? -0.25 : -0.3);
}

// As `ErrorTable::both_errors` counts gradients: with a price of 5,
// 0.11 of the square in steps. Rounding without bias adds noise to that of the
// samples, as fewer of them in a batch would; measured were 0 to 0.05 of the
// square for rounding and about 0.1 for rounding and a projection.
// docs/decisions/what-errors-cost.md
constexpr double weight_of_unbiased = 0.15;

bool has_all_elements(const CodecChoice& choice) {
    return choice.id == CodecId::dense || choice.id == CodecId::quantised;
}

//! Gradients that lose their small numbers.
bool is_biased(const CodecChoice& choice) {
    return choice.id == CodecId::paper_top_k ||
           (has_scales(choice.backward.format) &&
            choice.backward.rounding == Rounding::nearest);
}

std::pair<std::size_t, ValueId> key_of(const MeasuredError& entry) {
    return {entry.cut, entry.value};
}

//! By (cut, value); of each codec and direction there the last one.
std::vector<MeasuredError> keep_latest(std::vector<MeasuredError> measured) {
    std::ranges::stable_sort(measured, {}, key_of);
    std::vector<MeasuredError> kept;
    std::size_t begin = 0;  // of those at the same fence
    for (const MeasuredError& entry : measured) {
        if (!kept.empty() && key_of(kept.back()) != key_of(entry)) {
            begin = kept.size();
        }
        const auto same =
            std::find_if(kept.begin() + static_cast<std::ptrdiff_t>(begin),
                         kept.end(),
                         [&](const MeasuredError& earlier) {
                             return earlier.direction == entry.direction &&
                                    earlier.codec == entry.codec;
                         });
        if (same == kept.end()) {
            kept.push_back(entry);
        } else {
            same->error = entry.error;
        }
    }
    return kept;
}

bool is_convolution(const Op& op) {
    return op.target.starts_with("aten::") &&
           op.target.find("conv") != std::string::npos;
}

//! Ops that move dimensions, or make features of features.
bool gives_rows_another_meaning(const Op& op) {
    constexpr std::array names = {"permute",
                                  "transpose",
                                  "movedim",
                                  "view",
                                  "reshape",
                                  "flatten",
                                  "unflatten",
                                  "linear",
                                  "addmm",
                                  "matmul",
                                  "mm",
                                  "bmm",
                                  "einsum"};
    return std::ranges::any_of(names, [&](std::string_view name) {
        return op.target == fmt::format("aten::{}", name);
    });
}

//! Codecs whose errors go up and down together.
bool is_alike(const CodecChoice& a, const CodecChoice& b, Direction direction) {
    const auto& values = [&](const CodecChoice& choice) -> const ValueChoice& {
        return direction == Direction::forward ? choice.forward
                                               : choice.backward;
    };
    const auto kind = [&](const CodecChoice& choice) {
        return !has_all_elements(choice)           ? choice.id
               : has_scales(values(choice).format) ? CodecId::quantised
                                                   : CodecId::dense;
    };
    const auto has_grades = [&](const CodecChoice& choice) {
        return is_graded(values(choice).format);
    };
    return kind(a) == kind(b) && a.selection == b.selection &&
           has_grades(a) == has_grades(b);
}

}  // namespace

std::vector<ValueId> feature_maps(const OpGraph& graph) {
    std::vector<bool> is_map(graph.values().size(), false);
    const auto num_dims = [&](ValueId id) {
        return graph.value(id).type.sizes.size();
    };
    for (const Op& op : graph.ops()) {
        const bool convolves = is_convolution(op);
        for (const ValueId output : op.outputs) {
            is_map[output.get()] =
                convolves ||
                (!gives_rows_another_meaning(op) &&
                 std::ranges::any_of(used_values(op), [&](ValueId id) {
                     return is_map[id.get()] &&
                            num_dims(id) == num_dims(output);
                 }));
        }
    }
    std::vector<ValueId> maps;
    for (std::size_t v = 0; v < is_map.size(); ++v) {
        if (is_map[v]) {
            maps.emplace_back(static_cast<std::uint32_t>(v));
        }
    }
    return maps;
}

double prior_error(const CodecChoice& choice,
                   Direction direction,
                   RowsOf rows) {
    const double error = number_error(
        direction == Direction::forward ? choice.forward : choice.backward);
    const double ratio = choice.element_ratio;
    const bool is_map = rows == RowsOf::maps;
    if (direction == Direction::forward && is_graded(choice.forward.format)) {
        // A bit more halves what rounding loses, and not what is left out.
        const int more_bits = value_bits(choice.forward.format) - 4;
        const double of_features =
            0.013 * std::pow(ratio, 1.1) * std::pow(0.8, more_bits);
        const double of_maps = is_map ? 0.11 * std::pow(ratio, 1.1) : 0;
        return std::min(1.0, std::hypot(of_features, of_maps));
    }
    if (direction == Direction::backward && is_graded(choice.forward.format)) {
        // Of a basis of the activations: less than of one of the gradients, but
        // most of them lie in its span.
        const double left_out =
            std::min(1.0, (is_map ? 0.35 : 0.1) * std::pow(ratio, 0.7));
        return std::min(1.0, std::hypot(left_out, error));
    }
    const double kept = kept_squares(choice);
    return std::sqrt(1 - kept + kept * error * error);
}

ErrorTable::ErrorTable(const OpGraph& graph) : maps_(feature_maps(graph)) {}

ErrorTable::ErrorTable(std::vector<MeasuredError> measured,
                       std::vector<ValueId> maps)
    : measured_(keep_latest(std::move(measured))), maps_(std::move(maps)) {
    FUSIONLLM_EXPECTS(std::ranges::is_sorted(maps_));
}

RowsOf ErrorTable::rows_of(ValueId value) const {
    return std::ranges::binary_search(maps_, value) ? RowsOf::maps
                                                    : RowsOf::features;
}

bool ErrorTable::has_any(std::size_t cut, ValueId value) const {
    return std::ranges::binary_search(
        measured_, std::pair(cut, value), {}, key_of);
}

double ErrorTable::error(std::size_t cut,
                         ValueId value,
                         Direction direction,
                         const CodecChoice& choice) const {
    const RowsOf rows = rows_of(value);
    const double prior = prior_error(choice, direction, rows);
    const auto range =
        std::ranges::equal_range(measured_, std::pair(cut, value), {}, key_of);
    std::optional<double> exact;
    double log_sum = 0;
    int num_alike = 0;
    for (const MeasuredError& entry : range) {
        if (entry.direction != direction) {
            continue;
        }
        if (entry.codec == choice) {
            exact = entry.error;
        }
        const double expected = prior_error(entry.codec, direction, rows);
        if (is_alike(entry.codec, choice, direction) && entry.error > 0 &&
            expected > 0) {
            log_sum += std::log(entry.error / expected);
            ++num_alike;
        }
    }
    if (exact) {
        return std::min(1.0, *exact);
    }
    return std::min(
        1.0, num_alike == 0 ? prior : prior * std::exp(log_sum / num_alike));
}

double ErrorTable::both_errors(std::size_t cut,
                               ValueId value,
                               const CodecChoice& choice) const {
    const double there = error(cut, value, Direction::forward, choice);
    const double back = error(cut, value, Direction::backward, choice);
    return std::hypot(there,
                      (is_biased(choice) ? 1 : weight_of_unbiased) * back);
}

double ErrorTable::squared_errors(std::span<const Fence> fences) const {
    double sum = 0;
    for (const Fence& fence : fences) {
        const double error = both_errors(fence.cut, fence.value, fence.codec);
        sum += error * error;
    }
    return sum;
}

}  // namespace fusionllm
