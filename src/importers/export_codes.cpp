#include "export_codes.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm::detail {

std::string quote_special_numbers(const std::string& source) {
    std::string result;
    result.reserve(source.size());
    bool is_quoted = false;
    for (std::size_t i = 0; i < source.size(); ++i) {
        const char c = source[i];
        if (is_quoted && c == '\\' && i + 1 < source.size()) {
            result += c;
            result += source[++i];
            continue;
        }
        is_quoted = is_quoted != (c == '"');
        if (!is_quoted && (c == '-' || c == 'I' || c == 'N')) {
            const std::string_view rest = std::string_view(source).substr(i);
            const std::string_view word =
                rest.starts_with("-Infinity")  ? "-Infinity"
                : rest.starts_with("Infinity") ? "Infinity"
                : rest.starts_with("NaN")      ? "NaN"
                                               : "";
            if (!word.empty()) {
                result += '"' + std::string(word) + '"';
                i += word.size() - 1;
                continue;
            }
        }
        result += c;
    }
    return result;
}

std::optional<DType> dtype_of(std::int64_t code) {
    constexpr std::pair<std::int64_t, DType> codes[] = {{1, DType::u8},
                                                        {2, DType::i8},
                                                        {3, DType::i16},
                                                        {4, DType::i32},
                                                        {5, DType::i64},
                                                        {6, DType::f16},
                                                        {7, DType::f32},
                                                        {8, DType::f64},
                                                        {10, DType::c64},
                                                        {11, DType::c128},
                                                        {12, DType::boolean},
                                                        {13, DType::bf16}};
    const auto* found =
        std::ranges::find(codes, code, &std::pair<std::int64_t, DType>::first);
    return found == std::end(codes) ? std::nullopt
                                    : std::optional(found->second);
}

void check_sizes(const std::string& name,
                 const std::vector<std::int64_t>& sizes) {
    constexpr std::int64_t max_elements = std::int64_t{1} << 40;
    std::int64_t count = 1;
    bool is_right = sizes.size() <= 64;
    for (const std::int64_t size : sizes) {
        is_right = is_right && size >= 0 &&
                   size <= max_elements / std::max<std::int64_t>(count, 1);
        count *= is_right ? std::max<std::int64_t>(size, 1) : 1;
    }
    FUSIONLLM_VALIDATE(is_right,
                       "the exported tensor '{}' has negative or enormous "
                       "sizes; the archive is damaged",
                       name);
}

std::string source_line(const std::string& trace) {
    const std::size_t frame = trace.rfind("File \"");
    if (frame == std::string::npos) {
        return "";
    }
    std::string line = trace.substr(frame);
    std::replace_if(
        line.begin(), line.end(), [](char c) { return c == '\n'; }, ' ');
    constexpr std::size_t max_length = 240;
    return line.substr(0, max_length);
}

std::string module_path(const std::string& stack) {
    if (stack.empty()) {
        return "";
    }
    const std::vector<std::string> fields =
        split(split(stack, ';').back(), ',');
    const std::string path = fields.size() > 1 ? fields[1] : "";
    const bool is_plain = std::ranges::all_of(path, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
               (c >= 'A' && c <= 'Z') || c == '.' || c == '_';
    });
    return is_plain ? path : "";
}

}  // namespace fusionllm::detail
