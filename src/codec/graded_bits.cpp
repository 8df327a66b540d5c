#include "fusionllm/codec/graded_bits.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <queue>

namespace fusionllm {
namespace {

//! Mean square error over mean square, of normal numbers in tiles of 128, as
//! measured in tests/codec/value_block_test.cpp.
struct Grade {
    std::uint8_t bits;
    double error;
};

constexpr std::array grades{Grade{0, 1.0},
                            Grade{2, 0.119},
                            Grade{3, 0.0456},
                            Grade{4, 0.0138},
                            Grade{5, 0.0030},
                            Grade{6, 0.00071},
                            Grade{8, 0.000042}};

std::size_t bytes_of(std::size_t grade, std::uint64_t rows) {
    const std::uint8_t bits = grades.at(grade).bits;
    return bits == 0 ? 0 : value_block_bytes(graded_format(bits), rows);
}

//! The next grade of a vector.
struct Step {
    double gain;  //!< squares a byte
    std::size_t vector;

    friend bool operator<(const Step& a, const Step& b) {
        return a.gain < b.gain || (a.gain == b.gain && a.vector > b.vector);
    }
};

}  // namespace

std::vector<std::uint8_t> grade_bits(ValueFormat graded,
                                     std::span<const double> squares,
                                     std::uint64_t rows) {
    std::vector<std::size_t> grade(squares.size(), 0);
    std::priority_queue<Step> steps;
    const auto push = [&](std::size_t j) {
        const std::size_t g = grade[j];
        if (g + 1 == grades.size() || squares[j] == 0) {
            return;
        }
        // Of what is not finite the lower grades come first all the same.
        const double most = std::numeric_limits<double>::max() / 4;
        const double size =
            std::isfinite(squares[j]) ? std::min(squares[j], most) : most;
        const double less = grades.at(g).error - grades.at(g + 1).error;
        steps.push(
            {size * less /
                 static_cast<double>(bytes_of(g + 1, rows) - bytes_of(g, rows)),
             j});
    };
    for (std::size_t j = 0; j < squares.size(); ++j) {
        push(j);
    }
    if (steps.empty()) {
        return std::vector<std::uint8_t>(
            squares.size(), static_cast<std::uint8_t>(value_bits(graded)));
    }
    std::size_t left = squares.size() * value_block_bytes(graded, rows);
    while (!steps.empty()) {
        const std::size_t j = steps.top().vector;
        steps.pop();
        const std::size_t more =
            bytes_of(grade[j] + 1, rows) - bytes_of(grade[j], rows);
        if (more <= left) {
            left -= more;
            ++grade[j];
            push(j);
        }
    }
    std::vector<std::uint8_t> bits(squares.size());
    std::ranges::transform(
        grade, bits.begin(), [](std::size_t g) { return grades.at(g).bits; });
    return bits;
}

}  // namespace fusionllm
