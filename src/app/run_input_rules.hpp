#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace fusionllm::detail {

// What a key's value may be; the reader checks it and names it in messages.

struct IntegerRange {
    std::int64_t min;
    std::int64_t max;
};

//! Named in messages as it is called here.
struct NumberRange {
    const char* text;
    bool (*contains)(double);
};

//! Of a text, or of a bool that is written as the first or second word.
struct Choices {
    std::vector<std::string> words;
};

//! Anything of the value's type.
struct Any {};

//! Of the keys of a topology, which make sense together only.
struct TopologyKey {
    const char*
        nothing;  //!< how it is written if it joins another key, or null
};

//! First and last step, or the last alone; none if all are meant.
struct StepRange {};

inline constexpr IntegerRange any_count{
    0, std::numeric_limits<std::int64_t>::max()};
inline constexpr IntegerRange some_count{
    1, std::numeric_limits<std::int64_t>::max()};
//! Sizes whose products shall still fit.
inline constexpr IntegerRange some_size{1, std::numeric_limits<int>::max()};
inline constexpr NumberRange above_zero{"above 0",
                                        [](double x) { return x > 0; }};
inline constexpr NumberRange at_least_zero{"at least 0",
                                           [](double x) { return x >= 0; }};
inline constexpr NumberRange at_least_one{"at least 1",
                                          [](double x) { return x >= 1; }};
inline constexpr NumberRange below_one{
    "at least 0 and below 1", [](double x) { return x >= 0 && x < 1; }};
inline constexpr NumberRange up_to_one{
    "at least 0 and at most 1", [](double x) { return x >= 0 && x <= 1; }};

}  // namespace fusionllm::detail
