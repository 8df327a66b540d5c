#include "fusionllm/util/units.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <vector>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

//! Small units divide, so that "20 us" is the number nearest to 20e-6.
struct Unit {
    std::string_view name;
    double factor;
    double divisor = 1.0;

    double to_si(double number) const { return number * factor / divisor; }
    double from_si(double number) const { return number * divisor / factor; }
};

constexpr double kibi = 1024.0;
constexpr double mebi = kibi * kibi;
constexpr double gibi = mebi * kibi;
constexpr double tebi = gibi * kibi;

constexpr Unit byte_units[] = {
    {"B", 1.0},
    {"kB", 1e3},
    {"MB", 1e6},
    {"GB", 1e9},
    {"TB", 1e12},
    {"KiB", kibi},
    {"MiB", mebi},
    {"GiB", gibi},
    {"TiB", tebi},
};
constexpr Unit second_units[] = {
    {"ns", 1.0, 1e9},
    {"us", 1.0, 1e6},
    {"ms", 1.0, 1e3},
    {"s", 1.0},
    {"min", 60.0},
    {"h", 3600.0},
    {"d", 86400.0},
};
//! The first of `byte_rate_units` are in bits.
constexpr std::size_t num_bit_rates = 5;
constexpr Unit byte_rate_units[] = {
    {"bit/s", 0.125},
    {"kbit/s", 0.125e3},
    {"Mbit/s", 0.125e6},
    {"Gbit/s", 0.125e9},
    {"Tbit/s", 0.125e12},
    {"B/s", 1.0},
    {"kB/s", 1e3},
    {"MB/s", 1e6},
    {"GB/s", 1e9},
    {"TB/s", 1e12},
    {"KiB/s", kibi},
    {"MiB/s", mebi},
    {"GiB/s", gibi},
    {"TiB/s", tebi},
};
constexpr Unit flop_rate_units[] = {
    {"flop/s", 1.0},
    {"kflop/s", 1e3},
    {"Mflop/s", 1e6},
    {"Gflop/s", 1e9},
    {"Tflop/s", 1e12},
    {"Pflop/s", 1e15},
};

struct Quantity {
    std::string_view kind;     //!< "an amount of bytes"
    std::string_view example;  //!< "11 GiB"
    std::string_view hint;     //!< for a unit that is not in the table
    std::span<const Unit> units;
};

std::string list(std::span<const Unit> units) {
    std::vector<std::string_view> names;
    for (const Unit& unit : units) {
        names.push_back(unit.name);
    }
    return fmt::format("{}", fmt::join(names, ", "));
}

double parse(std::string_view text, const Quantity& quantity) {
    const std::string_view trimmed = trim(text);
    double number = 0.0;
    const char* end = trimmed.data() + trimmed.size();
    const auto result = std::from_chars(trimmed.data(), end, number);
    FUSIONLLM_VALIDATE(
        result.ec == std::errc{} && std::isfinite(number) && number >= 0.0,
        "'{}' is not {}; write a number that is not negative and a unit, as "
        "in \"{}\"",
        text,
        quantity.kind,
        quantity.example);
    const std::string_view name = trim(
        trimmed.substr(static_cast<std::size_t>(result.ptr - trimmed.data())));
    for (const Unit& unit : quantity.units) {
        if (unit.name == name) {
            return unit.to_si(number);
        }
    }
    throw InputError(fmt::format(
        "'{}' has {}, so it is not {}; write it as in \"{}\" with one of {}{}",
        text,
        name.empty() ? "no unit" : fmt::format("the unknown unit '{}'", name),
        quantity.kind,
        quantity.example,
        list(quantity.units),
        quantity.hint));
}

//! The fewest digits of number / unit that give the number back, or nothing.
std::string write(double number, const Unit& unit) {
    constexpr int all_digits = 17;
    for (int digits = 1; digits <= all_digits; ++digits) {
        const std::string text =
            fmt::format("{:.{}g}", unit.from_si(number), digits);
        double value = 0.0;
        std::from_chars(text.data(), text.data() + text.size(), value);
        if (unit.to_si(value) == number) {
            return fmt::format("{}", value);
        }
    }
    return "";
}

//! In the unit with the shortest number; of those the largest unit in which it
//! is 1 or more. One of the
//! units has a power of two as its factor and so gives every number back.
std::string write(double number, std::span<const Unit> units) {
    FUSIONLLM_EXPECTS(std::isfinite(number) && number >= 0.0);
    if (number == 0.0) {
        return fmt::format("0 {}", units.front().name);
    }
    std::string shortest;
    std::string_view name;
    for (const Unit& unit : units) {
        const std::string text = write(number, unit);
        const bool is_exact = !text.empty();
        const bool is_as_short =
            text.size() == shortest.size() && !text.starts_with('0');
        if (is_exact && (shortest.empty() || is_as_short ||
                         text.size() < shortest.size())) {
            shortest = text;
            name = unit.name;
        }
    }
    return fmt::format("{} {}", shortest, name);
}

//! Three significant digits of a number in [0.1, 1000).
std::string format_three_digits(double value) {
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return fmt::format("{:.{}f}", value, decimals);
}

std::string format_two_parts(double seconds,
                             double big,
                             double small,
                             std::string_view big_name,
                             std::string_view small_name) {
    const double smalls = std::round(seconds / small);
    const double per_big = big / small;
    const double bigs = std::floor(smalls / per_big);
    return fmt::format("{:.0f} {} {:02.0f} {}",
                       bigs,
                       big_name,
                       smalls - bigs * per_big,
                       small_name);
}

}  // namespace

double parse_bytes(std::string_view text) {
    return parse(text,
                 {"an amount of bytes",
                  "11 GiB",
                  " (B is bytes; bits are not taken here)",
                  byte_units});
}

double parse_seconds(std::string_view text) {
    return parse(text, {"a time", "20 ms", "", second_units});
}

double parse_bytes_per_s(std::string_view text) {
    return parse(text,
                 {"a bandwidth",
                  "8 Mbit/s",
                  " (bit is bits and B is bytes; a lone b could be either)",
                  byte_rate_units});
}

double parse_flops_per_s(std::string_view text) {
    return parse(text, {"a speed", "19.5 Tflop/s", "", flop_rate_units});
}

std::string write_bytes(double bytes) {
    return write(bytes, byte_units);
}

std::string write_seconds(double seconds) {
    return write(seconds, second_units);
}

std::string write_bytes_per_s(double bytes_per_s) {
    return write(bytes_per_s,
                 std::span(byte_rate_units).subspan(num_bit_rates));
}

std::string write_bits_per_s(double bytes_per_s) {
    return write(bytes_per_s, std::span(byte_rate_units).first(num_bit_rates));
}

std::string write_flops_per_s(double flops_per_s) {
    return write(flops_per_s, flop_rate_units);
}

std::string format_bytes(double bytes) {
    if (bytes < 0.0) {
        return fmt::format("-{}", format_bytes(-bytes));
    }
    if (bytes < 1023.5 || !std::isfinite(bytes)) {
        return fmt::format("{:.0f} B", bytes);
    }
    constexpr std::array names = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = bytes / kibi;
    std::size_t index = 0;
    for (; value >= 1023.95 && index + 1 < names.size(); ++index) {
        value /= kibi;
    }
    return fmt::format("{:.1f} {}", value, names[index]);
}

std::string format_seconds(double seconds) {
    if (seconds < 0.0) {
        return fmt::format("-{}", format_seconds(-seconds));
    }
    if (seconds == 0.0 || !std::isfinite(seconds)) {
        return fmt::format("{:.0f} s", seconds);
    }
    if (seconds < 999.5e-9) {
        return format_three_digits(seconds * 1e9) + " ns";
    }
    if (seconds < 999.5e-6) {
        return format_three_digits(seconds * 1e6) + " us";
    }
    if (seconds < 999.5e-3) {
        return format_three_digits(seconds * 1e3) + " ms";
    }
    if (seconds < 59.95) {
        return format_three_digits(seconds) + " s";
    }
    if (seconds < 3599.5) {
        return format_two_parts(seconds, 60.0, 1.0, "min", "s");
    }
    if (seconds < 86370.0) {
        return format_two_parts(seconds, 3600.0, 60.0, "h", "min");
    }
    return format_two_parts(seconds, 86400.0, 3600.0, "d", "h");
}

std::string format_count(double count) {
    if (count < 0.0) {
        return fmt::format("-{}", format_count(-count));
    }
    if (count < 999.5 || !std::isfinite(count)) {
        return count == std::round(count) || !std::isfinite(count)
                   ? fmt::format("{:.0f}", count)
                   : format_three_digits(count);
    }
    constexpr std::array names = {"k", "M", "G", "T", "P", "E"};
    double value = count / 1e3;
    std::size_t index = 0;
    for (; value >= 999.5 && index + 1 < names.size(); ++index) {
        value /= 1e3;
    }
    return format_three_digits(value) + " " + names[index];
}

}  // namespace fusionllm
