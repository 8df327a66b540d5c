#include "fusionllm/wire/codec_choice.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <vector>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

constexpr std::string_view feedback_suffix = "+feedback";

//! Those that a text can name, as people list them.
constexpr std::array named_formats{ValueFormat::f32,
                                   ValueFormat::bf16,
                                   ValueFormat::f16,
                                   ValueFormat::int8,
                                   ValueFormat::int6,
                                   ValueFormat::int5,
                                   ValueFormat::int4,
                                   ValueFormat::int3,
                                   ValueFormat::int2,
                                   ValueFormat::graded,
                                   ValueFormat::graded6,
                                   ValueFormat::graded5};

const std::vector<std::string>& kind_names() {
    static const std::vector<std::string> names = {
        "top_k", "top_k_row", "subspace", "paper"};
    return names;
}

[[noreturn]] void refuse(std::string_view text, const std::string& word) {
    std::vector<std::string> known;
    for (const ValueFormat format : named_formats) {
        known.push_back(to_text(format));
    }
    known.insert(known.end(), kind_names().begin(), kind_names().end());
    throw InputError(
        fmt::format("there is no codec '{}' (known: {}; e.g. int4/int3s, "
                    "top_k(100,int4), subspace(16,int4)){}",
                    text,
                    fmt::join(known, ", "),
                    did_you_mean(word, known)));
}

ValueChoice parse_values(std::string_view whole, std::string_view text) {
    ValueChoice choice;
    std::string name(trim(text));
    if (name.ends_with('s')) {
        choice.rounding = Rounding::stochastic;
        name.pop_back();
    }
    const auto found =
        std::ranges::find(named_formats, name, [](ValueFormat format) {
            return to_text(format);
        });
    if (found == named_formats.end()) {
        refuse(whole, name);
    }
    choice.format = *found;
    FUSIONLLM_VALIDATE(
        choice.rounding == Rounding::nearest || has_scales(choice.format),
        "codec '{}': {} cannot be rounded stochastically; leave the 's' out",
        whole,
        name);
    return choice;
}

//! Of gradients beside graded numbers: 8 bits together, but for those of four.
ValueFormat gradients_of(ValueFormat graded) {
    switch (value_bits(graded)) {
        case 6:
            return ValueFormat::int2;
        case 5:
            return ValueFormat::int3;
        default:
            return ValueFormat::int4;
    }
}

//! "int4/int3s"
void parse_both(std::string_view whole,
                std::string_view text,
                CodecChoice& choice) {
    const std::size_t slash = text.find('/');
    choice.forward = parse_values(whole, text.substr(0, slash));
    const ValueFormat forward = choice.forward.format;
    FUSIONLLM_VALIDATE(!is_graded(forward) || choice.id == CodecId::subspace,
                       "codec '{}': graded numbers are those of a subspace; "
                       "write subspace(RATIO,graded)",
                       whole);
    if (slash != std::string_view::npos) {
        choice.backward = parse_values(whole, text.substr(slash + 1));
    } else if (is_graded(forward)) {
        choice.backward = {gradients_of(forward), Rounding::stochastic};
    } else {
        choice.backward = choice.forward;
    }
    FUSIONLLM_VALIDATE(!is_graded(choice.backward.format),
                       "codec '{}': gradients cannot be graded, for the bits "
                       "follow the activations; write graded/int4s",
                       whole);
}

double parse_ratio(std::string_view whole, std::string_view text) {
    const std::string_view number = trim(text);
    double ratio = 0;
    const char* end = number.data() + number.size();
    const auto result = std::from_chars(number.data(), end, ratio);
    FUSIONLLM_VALIDATE(result.ec == std::errc{} && result.ptr == end &&
                           std::isfinite(ratio) && ratio >= 1,
                       "codec '{}': '{}' is no element ratio; it must be a "
                       "number of 1 or more",
                       whole,
                       number);
    return ratio;
}

std::string to_text(const ValueChoice& values) {
    return fusionllm::to_text(values.format) +
           (values.rounding == Rounding::stochastic ? "s" : "");
}

std::string write_both(const CodecChoice& choice) {
    return choice.forward == choice.backward
               ? to_text(choice.forward)
               : to_text(choice.forward) + "/" + to_text(choice.backward);
}

std::string kind_name(const CodecChoice& choice) {
    if (choice.id == CodecId::subspace) {
        return "subspace";
    }
    if (choice.id == CodecId::paper_top_k) {
        return "paper";
    }
    return choice.selection == Selection::row ? "top_k_row" : "top_k";
}

CodecSpec all_elements(const ValueChoice& values) {
    CodecSpec spec;
    spec.id = has_scales(values.format) ? CodecId::quantised : CodecId::dense;
    spec.values = values.format;
    spec.rounding = values.rounding;
    return spec;
}

std::uint64_t keep(std::uint64_t elements, double ratio) {
    const double kept = std::round(static_cast<double>(elements) / ratio);
    return std::clamp<std::uint64_t>(
        static_cast<std::uint64_t>(kept), 1, elements);
}

}  // namespace

std::string to_text(const CodecChoice& choice) {
    std::string text;
    if (choice.id == CodecId::dense || choice.id == CodecId::quantised) {
        text = write_both(choice);
    } else if (choice.id == CodecId::paper_top_k) {
        text = fmt::format("paper({})", choice.element_ratio);
    } else {
        text = fmt::format("{}({},{})",
                           kind_name(choice),
                           choice.element_ratio,
                           write_both(choice));
    }
    return choice.has_feedback ? text + std::string(feedback_suffix) : text;
}

CodecChoice parse_codec_choice(std::string_view text, double element_ratio) {
    CodecChoice choice;
    std::string_view rest = trim(text);
    if (rest.ends_with(feedback_suffix)) {
        choice.has_feedback = true;
        rest.remove_suffix(feedback_suffix.size());
    }
    const std::size_t open = rest.find('(');
    const std::string name(trim(rest.substr(0, open)));
    if (std::ranges::find(kind_names(), name) == kind_names().end()) {
        parse_both(text, rest, choice);
        choice.id = has_scales(choice.forward.format) ? CodecId::quantised
                                                      : CodecId::dense;
        return choice;
    }
    choice.id = name == "subspace" ? CodecId::subspace
                : name == "paper"  ? CodecId::paper_top_k
                                   : CodecId::top_k;
    choice.selection = name == "top_k_row" ? Selection::row : Selection::tensor;
    choice.element_ratio = element_ratio;
    if (choice.id != CodecId::paper_top_k) {
        parse_both(text, "int4", choice);
    }
    if (open == std::string_view::npos) {
        return choice;
    }
    FUSIONLLM_VALIDATE(
        rest.ends_with(')'), "codec '{}' has no closing parenthesis", text);
    rest = rest.substr(open + 1, rest.size() - open - 2);
    const std::size_t comma = rest.find(',');
    choice.element_ratio = parse_ratio(text, rest.substr(0, comma));
    if (comma != std::string_view::npos) {
        FUSIONLLM_VALIDATE(choice.id != CodecId::paper_top_k,
                           "codec '{}': the paper's values are always fp32; "
                           "write paper(RATIO)",
                           text);
        parse_both(text, rest.substr(comma + 1), choice);
    }
    return choice;
}

CodecPair resolve(const CodecChoice& choice, const MatrixShape& shape) {
    if (shape.size() == 0) {
        const CodecSpec empty = all_elements({});
        return {empty, empty};
    }
    if (choice.id == CodecId::dense || choice.id == CodecId::quantised) {
        return {all_elements(choice.forward), all_elements(choice.backward)};
    }
    CodecPair pair;
    pair.forward.id = choice.id;
    pair.forward.values = choice.forward.format;
    pair.forward.rounding = choice.forward.rounding;
    pair.forward.selection = choice.selection;
    if (choice.id == CodecId::subspace) {
        pair.forward.kept = keep(shape.columns, choice.element_ratio);
    } else if (choice.selection == Selection::row) {
        pair.forward.kept =
            shape.rows * keep(shape.columns, choice.element_ratio);
    } else {
        pair.forward.kept = keep(shape.size(), choice.element_ratio);
    }
    pair.backward = pair.forward;
    pair.backward.values = choice.backward.format;
    pair.backward.rounding = choice.backward.rounding;
    pair.backward.rows_differ = choice.id == CodecId::subspace;
    if (choice.id == CodecId::top_k) {
        pair.backward.id = CodecId::masked;
    }
    return pair;
}

std::size_t basis_bytes(const CodecChoice& choice, const MatrixShape& shape) {
    CodecSpec spec = resolve(choice, shape).forward;
    if (spec.id != CodecId::subspace) {
        return 0;
    }
    const std::size_t without = payload_bytes(spec, shape);
    spec.carries_basis = true;
    return payload_bytes(spec, shape) - without;
}

double byte_ratio(const CodecChoice& choice, const MatrixShape& shape) {
    if (shape.size() == 0) {
        return 1;
    }
    const CodecPair pair = resolve(choice, shape);
    const auto encoded =
        static_cast<double>(payload_bytes(pair.forward, shape) +
                            payload_bytes(pair.backward, shape));
    return 8 * static_cast<double>(shape.size()) / encoded;
}

}  // namespace fusionllm
