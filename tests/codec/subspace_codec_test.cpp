#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/codec/value_block.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Numbers = std::vector<float>;
using Matrix = std::vector<double>;
using Bytes = std::vector<std::byte>;
using Use = CodecKey::Use;

double draw(std::uint64_t seed, std::uint64_t i) {
    const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, 0}},
                              make_philox_key(seed));
    double sum = -2;
    for (const std::uint32_t word : block.words) {
        sum += word * 0x1p-32;
    }
    return sum;
}

/*!
 * Rows with the standard deviations spectrum(0), spectrum(1), ... along
 * directions that are not those of the columns.
 */
Numbers make_numbers(const MatrixShape& shape,
                     std::uint64_t seed,
                     const std::function<double(std::uint64_t)>& spectrum) {
    // Householder: I - 2 u u^T / (u^T u)
    Matrix u(shape.columns);
    double square = 0;
    for (std::uint64_t c = 0; c < shape.columns; ++c) {
        u[c] = draw(seed + 1000, c);
        square += u[c] * u[c];
    }
    Numbers numbers(shape.size());
    for (std::uint64_t r = 0; r < shape.rows; ++r) {
        Matrix row(shape.columns);
        double dot = 0;
        for (std::uint64_t c = 0; c < shape.columns; ++c) {
            row[c] = spectrum(c) * draw(seed, r * shape.columns + c);
            dot += row[c] * u[c];
        }
        for (std::uint64_t c = 0; c < shape.columns; ++c) {
            numbers[r * shape.columns + c] =
                static_cast<float>(row[c] - 2 * dot / square * u[c]);
        }
    }
    return numbers;
}

Matrix gram(const Numbers& x, const MatrixShape& shape) {
    Matrix g(shape.columns * shape.columns);
    for (std::uint64_t r = 0; r < shape.rows; ++r) {
        for (std::uint64_t i = 0; i < shape.columns; ++i) {
            for (std::uint64_t j = 0; j < shape.columns; ++j) {
                g[i * shape.columns + j] +=
                    double{x[r * shape.columns + i]} * x[r * shape.columns + j];
            }
        }
    }
    return g;
}

//! Jacobi's rotations until nothing is left beside the diagonal.
std::vector<double> find_eigenvalues(Matrix a, std::uint64_t n) {
    for (int sweep = 0; sweep < 30; ++sweep) {
        for (std::uint64_t p = 0; p < n; ++p) {
            for (std::uint64_t q = p + 1; q < n; ++q) {
                const double apq = a[p * n + q];
                if (apq == 0) {
                    continue;
                }
                const double theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
                const double t = (theta >= 0 ? 1 : -1) /
                                 (std::abs(theta) + std::hypot(theta, 1.0));
                const double c = 1 / std::hypot(t, 1.0);
                const double s = t * c;
                for (std::uint64_t k = 0; k < n; ++k) {
                    const double kp = a[k * n + p];
                    const double kq = a[k * n + q];
                    a[k * n + p] = c * kp - s * kq;
                    a[k * n + q] = s * kp + c * kq;
                }
                for (std::uint64_t k = 0; k < n; ++k) {
                    const double pk = a[p * n + k];
                    const double qk = a[q * n + k];
                    a[p * n + k] = c * pk - s * qk;
                    a[q * n + k] = s * pk + c * qk;
                }
            }
        }
    }
    std::vector<double> values;
    for (std::uint64_t i = 0; i < n; ++i) {
        values.push_back(a[i * n + i]);
    }
    std::ranges::sort(values, std::greater<>());
    return values;
}

struct Message {
    CodecSpec spec;
    Bytes payload;
    Numbers decoded;
};

struct Fence {
    MatrixShape shape;
    std::unique_ptr<Codec> before;
    std::unique_ptr<Codec> after;

    Fence(const std::string& text, const MatrixShape& of)
        : shape(of), before(make(text)), after(make(text)) {}

    std::unique_ptr<Codec> make(const std::string& text) const {
        return make_codec(
            parse_codec_choice(text, 1), shape, MemorySpace::host);
    }

    Message pass(Direction direction,
                 const Numbers& numbers,
                 const CodecKey& key) {
        const bool is_forward = direction == Direction::forward;
        Codec& from = is_forward ? *before : *after;
        Codec& to = is_forward ? *after : *before;
        Message message{from.spec(direction, key), {}, {}};
        message.payload.resize(payload_bytes(message.spec, shape));
        from.encode(direction, key, numbers, message.payload);
        message.decoded.resize(shape.size());
        to.decode(
            direction, key, message.spec, message.payload, message.decoded);
        return message;
    }
    Message forward(const Numbers& numbers) {
        return pass(Direction::forward, numbers, {});
    }
};

//! (columns, kept)
Numbers basis_of(const Codec& codec) {
    const auto states = codec.state();
    if (states.size() != 1) {
        return {};
    }
    const HostTensor& tensor = states.front().tensor;
    Numbers basis(static_cast<std::size_t>(num_elements(tensor.type)));
    std::memcpy(basis.data(), tensor.bytes.data(), tensor.bytes.size());
    return basis;
}

double energy(const Numbers& numbers) {
    double sum = 0;
    for (const float number : numbers) {
        sum += double{number} * number;
    }
    return sum;
}

double distance(const Numbers& a, const Numbers& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    }
    return sum;
}

//! How far from orthonormal.
double orthonormality_error(const Numbers& basis, std::uint64_t kept) {
    double worst = 0;
    for (std::uint64_t i = 0; i < kept; ++i) {
        for (std::uint64_t j = 0; j < kept; ++j) {
            double dot = 0;
            for (std::uint64_t c = 0; c < basis.size() / kept; ++c) {
                dot += double{basis[c * kept + i]} * basis[c * kept + j];
            }
            worst = std::max(worst, std::abs(dot - (i == j ? 1 : 0)));
        }
    }
    return worst;
}

const auto geometric = [](std::uint64_t i) { return std::pow(0.9, double(i)); };
const auto flat = [](std::uint64_t) { return 1.0; };

TEST(SubspaceCodec, captures_the_energy_of_the_principal_components) {
    const std::function<double(std::uint64_t)> spectra[] = {
        geometric,
        [](std::uint64_t i) { return 1 / double(i + 1); },
        [](std::uint64_t i) { return 1 / std::sqrt(double(i + 1)); },
        [](std::uint64_t i) { return i < 4 ? 10.0 : 1.0; },
        [](std::uint64_t i) { return std::exp(-double(i)); }};
    const MatrixShape shape{300, 96};
    std::uint64_t seed = 0;
    for (const auto& spectrum : spectra) {
        for (const char* text : {"subspace(96,fp32)",
                                 "subspace(24,fp32)",
                                 "subspace(8,fp32)",
                                 "subspace(2,fp32)"}) {
            Fence fence(text, shape);
            const Numbers x = make_numbers(shape, ++seed, spectrum);

            const Message message = fence.forward(x);

            const auto values = find_eigenvalues(gram(x, shape), shape.columns);
            double best = 0;
            for (std::uint64_t i = 0; i < message.spec.kept; ++i) {
                best += values[i];
            }
            const double captured = energy(x) - distance(x, message.decoded);
            EXPECT_GT(captured, 0.99 * best) << text << ", " << seed;
            EXPECT_LT(captured, 1.0001 * best) << text << ", " << seed;
            EXPECT_LT(orthonormality_error(basis_of(*fence.before),
                                           message.spec.kept),
                      2e-3);
        }
    }
}

TEST(SubspaceCodec, equals_plain_loops_over_its_basis) {
    for (const MatrixShape& shape :
         {MatrixShape{1, 70}, {2, 65}, {33, 70}, {129, 64}, {7, 131}}) {
        Fence fence("subspace(9,fp32)", shape);
        fence.forward(make_numbers(shape, 1, geometric));
        const Numbers x = make_numbers(shape, 2, flat);

        const Message message = fence.forward(x);
        const Message back = fence.pass(Direction::backward, x, {});

        EXPECT_FALSE(message.spec.carries_basis);
        const std::uint64_t kept = message.spec.kept;
        const Numbers v = basis_of(*fence.before);
        EXPECT_EQ(basis_of(*fence.after), v);
        const std::size_t bytes =
            value_block_bytes(ValueFormat::f32, shape.rows);
        ASSERT_EQ(message.payload.size(), kept * bytes);
        for (std::uint64_t r = 0; r < shape.rows; ++r) {
            Numbers row(shape.columns);
            for (std::uint64_t j = 0; j < kept; ++j) {
                float sum = 0;
                for (std::uint64_t c = 0; c < shape.columns; ++c) {
                    sum = std::fma(
                        x[r * shape.columns + c], v[c * kept + j], sum);
                }
                float sent = 0;
                std::memcpy(&sent, &message.payload[j * bytes + 4 * r], 4);
                ASSERT_EQ(sent, sum) << r << ", " << j;
                for (std::uint64_t c = 0; c < shape.columns; ++c) {
                    row[c] = std::fma(sent, v[c * kept + j], row[c]);
                }
            }
            for (std::uint64_t c = 0; c < shape.columns; ++c) {
                ASSERT_EQ(message.decoded[r * shape.columns + c], row[c]);
            }
        }
        EXPECT_EQ(back.payload, message.payload);
        EXPECT_EQ(back.decoded, message.decoded);
    }
}

TEST(SubspaceCodec, sends_a_block_of_values_for_each_vector) {
    const MatrixShape shape{300, 64};
    Fence wide("subspace(16,fp32/fp32)", shape);
    Fence fence("subspace(16,fp32/int4s)", shape);
    const Numbers x = make_numbers(shape, 4, geometric);
    wide.forward(x);
    fence.forward(x);
    CodecKey key;
    key.random = 99;

    const Bytes coefficients = wide.pass(Direction::backward, x, key).payload;
    const Bytes payload = fence.pass(Direction::backward, x, key).payload;

    const std::size_t bytes = value_block_bytes(ValueFormat::int4, shape.rows);
    const std::size_t head = 304;  // 2 bytes, and one a row, in whole words
    ASSERT_EQ(payload.size(), head + 4 * bytes);
    Numbers columns(4 * shape.rows);
    std::memcpy(columns.data(), coefficients.data(), 4 * columns.size());
    std::vector<int> eighths;  // of octaves, up to the largest number of a row
    for (std::uint64_t r = 0; r < shape.rows; ++r) {
        float largest = 0;
        for (std::uint64_t j = 0; j < 4; ++j) {
            largest = std::max(largest, std::abs(columns[j * shape.rows + r]));
        }
        eighths.push_back(static_cast<int>(std::ceil(8 * std::log2(largest))));
    }
    const int most = std::ranges::max(eighths);
    EXPECT_EQ(std::to_integer<int>(payload[0]) |
                  std::to_integer<int>(payload[1]) << 8,
              8 * 128 + most);
    for (std::uint64_t r = 0; r < shape.rows; ++r) {
        EXPECT_EQ(std::to_integer<int>(payload[2 + r]),
                  255 + eighths[r] - most);
        const int whole = (eighths[r] + 8 * 128 + 7) / 8 - 128;
        const int below = 8 * whole - eighths[r];
        const auto up = static_cast<float>(std::exp2(below / 8.0));
        for (std::uint64_t j = 0; j < 4; ++j) {
            float& number = columns[j * shape.rows + r];
            number *= std::ldexp(up, -whole);
        }
    }
    for (std::uint64_t j = 0; j < 4; ++j) {
        Bytes block(bytes);
        encode_values(ValueFormat::int4,
                      Rounding::stochastic,
                      derive_key(99, j),
                      std::span(columns).subspan(j * shape.rows, shape.rows),
                      block,
                      MemorySpace::host);
        EXPECT_TRUE(std::ranges::equal(
            block, std::span(payload).subspan(head + j * bytes, bytes)))
            << j;
    }
}

TEST(SubspaceCodec, small_gradients_have_no_more_error_than_large_ones) {
    const MatrixShape shape{128, 64};
    Fence fence("subspace(1,int4s)", shape);
    Numbers x = make_numbers(shape, 4, geometric);
    for (std::uint64_t r = 0; r < shape.rows; ++r) {
        for (std::uint64_t c = 0; c < shape.columns; ++c) {
            x[r * shape.columns + c] *=
                std::pow(10.0f, -static_cast<float>(r % 8));
        }
    }
    fence.forward(x);

    const Numbers decoded = fence.pass(Direction::backward, x, {}).decoded;

    for (std::uint64_t r = 0; r < shape.rows; ++r) {
        double lost = 0;
        double all = 0;
        for (std::uint64_t c = 0; c < shape.columns; ++c) {
            const std::uint64_t i = r * shape.columns + c;
            lost += std::pow(double{x[i]} - decoded[i], 2);
            all += std::pow(x[i], 2);
        }
        EXPECT_LT(std::sqrt(lost / all), 0.5) << r;
    }
}

TEST(SubspaceCodec,
     errors_of_the_smallest_gradients_are_nothing_beside_the_largest) {
    const MatrixShape shape{128, 64};
    Fence fence("subspace(1,int4s)", shape);
    Numbers x = make_numbers(shape, 4, geometric);
    for (std::size_t i = 0; i < x.size(); ++i) {
        const std::uint64_t row = i / shape.columns;
        x[i] *= row % 2 == 0 ? 1.0f : row % 4 == 1 ? 1e-12f : 1e-30f;
    }
    fence.forward(x);

    const Numbers decoded = fence.pass(Direction::backward, x, {}).decoded;

    const float largest = std::abs(*std::ranges::max_element(
        x, {}, [](float number) { return std::abs(number); }));
    for (std::size_t i = 0; i < x.size(); ++i) {
        if (i / shape.columns % 2 == 1) {
            EXPECT_LT(std::abs(x[i] - decoded[i]), largest / (1 << 30)) << i;
        }
    }
}

TEST(SubspaceCodec, rows_of_zeros_stay_zeros_whatever_others_are_rounded_to) {
    const MatrixShape shape{130, 64};
    Numbers x = make_numbers(shape, 4, geometric);
    const auto row = [&](const Numbers& numbers, std::uint64_t r) {
        return std::span(numbers).subspan(r * shape.columns, shape.columns);
    };
    for (const std::uint64_t r : {0u, 77u, 129u}) {
        for (std::uint64_t c = 0; c < shape.columns; ++c) {
            x[r * shape.columns + c] = 0;
        }
    }
    const auto is_none = [](std::span<const float> numbers) {
        return std::ranges::all_of(numbers,
                                   [](float number) { return number == 0; });
    };
    for (const char* codec : {"subspace(2,int4s)", "subspace(2,int2)"}) {
        Fence fence(codec, shape);
        for (const Direction direction :
             {Direction::forward, Direction::backward}) {
            const Numbers decoded = fence.pass(direction, x, {}).decoded;

            for (std::uint64_t r = 0; r < shape.rows; ++r) {
                EXPECT_EQ(is_none(row(decoded, r)), is_none(row(x, r)))
                    << codec << ", row " << r;
            }
        }
    }
}

TEST(SubspaceCodec, activations_are_as_exact_as_their_values) {
    const MatrixShape shape{1024, 64};
    Fence fence("subspace(1,int4)", shape);
    const Numbers x = make_numbers(shape, 4, [](std::uint64_t) { return 1.0; });

    const Numbers decoded = fence.forward(x).decoded;

    // As of normal numbers (codec/value_block_test), though rows differ a bit.
    EXPECT_LT(distance(x, decoded), 0.016 * energy(x));
}

TEST(SubspaceCodec, gradients_are_nearly_as_exact_as_their_values) {
    const MatrixShape shape{1024, 64};
    Fence fence("subspace(1,int4s)", shape);
    Numbers x = make_numbers(shape, 4, [](std::uint64_t) { return 1.0; });
    fence.forward(x);
    const double alike = distance(x, fence.forward(x).decoded) / energy(x);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] *= std::exp2(-0.37f * static_cast<float>(i / shape.columns % 13));
    }

    const Numbers decoded = fence.pass(Direction::backward, x, {}).decoded;

    EXPECT_LT(distance(x, decoded), 1.2 * alike * energy(x));
}

TEST(SubspaceCodec, rows_of_two_sizes_are_as_exact_as_rows_of_one) {
    const MatrixShape shape{1024, 64};
    for (const float size : {1.7f, 2.5f, 3.0f, 4.5f, 7.0f, 11.0f}) {
        Fence fence("subspace(1,int4)", shape);
        Numbers x = make_numbers(shape, 4, [](std::uint64_t) { return 1.0; });
        for (std::size_t i = 0; i < x.size(); ++i) {
            x[i] *= i / shape.columns % 7 < 2 ? size : 1.0f;
        }

        const Numbers decoded = fence.forward(x).decoded;

        // The bits of a row tell sizes near the mean in finer steps.
        EXPECT_LT(distance(x, decoded), (size > 3 ? 0.035 : 0.018) * energy(x))
            << size;
    }
}

TEST(SubspaceCodec, few_large_rows_do_not_spoil_the_others) {
    const MatrixShape shape{1024, 64};
    Fence fence("subspace(1,int4)", shape);
    Numbers x = make_numbers(shape, 4, [](std::uint64_t) { return 1.0; });
    const Numbers before = fence.forward(x).decoded;
    const auto is_large = [](std::uint64_t row) { return row % 64 == 5; };
    const auto row = [&](const Numbers& numbers, std::uint64_t r) {
        const auto from =
            numbers.begin() + static_cast<std::ptrdiff_t>(r * shape.columns);
        return Numbers(from, from + static_cast<std::ptrdiff_t>(shape.columns));
    };
    for (const float size : {10.0f, 300.0f, 1000.0f}) {
        Numbers with = x;
        for (std::size_t i = 0; i < with.size(); ++i) {
            with[i] *= is_large(i / shape.columns) ? size : 1.0f;
        }

        const Numbers after = fence.forward(with).decoded;

        double others = 0;
        for (std::uint64_t r = 0; r < shape.rows; ++r) {
            const double lost = distance(row(with, r), row(after, r));
            if (is_large(r)) {
                EXPECT_LT(lost, 0.2 * energy(row(with, r))) << r;
            } else {
                others += lost;
            }
        }
        EXPECT_LT(others, 1.5 * distance(x, before)) << size;
    }
}

TEST(SubspaceCodec, carries_a_basis_first_and_when_asked) {
    const MatrixShape shape{40, 64};
    Fence fence("subspace(8,int8)", shape);
    CodecKey ask;
    ask.wants_new_basis = true;

    const Message first = fence.forward(make_numbers(shape, 1, geometric));
    const Numbers basis = basis_of(*fence.after);
    const Message second = fence.forward(make_numbers(shape, 2, geometric));
    EXPECT_EQ(basis_of(*fence.after), basis);
    const Message third =
        fence.pass(Direction::forward, make_numbers(shape, 3, geometric), ask);

    EXPECT_TRUE(first.spec.carries_basis);
    EXPECT_FALSE(second.spec.carries_basis);
    EXPECT_TRUE(third.spec.carries_basis);
    EXPECT_EQ(first.payload.size(), second.payload.size() + 64 * 8 * 2);
    EXPECT_NE(basis_of(*fence.after), basis);
    EXPECT_EQ(basis_of(*fence.after), basis_of(*fence.before));
    EXPECT_FALSE(fence.before->spec(Direction::backward, ask).carries_basis);
}

TEST(SubspaceCodec, a_new_basis_follows_the_numbers) {
    const MatrixShape shape{200, 64};
    Fence fence("subspace(8,fp32)", shape);
    fence.forward(make_numbers(shape, 1, geometric));
    // Another Householder direction: the old basis fits badly.
    const Numbers x = make_numbers(shape, 500, geometric);
    CodecKey ask;
    ask.wants_new_basis = true;

    const double old_error = distance(x, fence.forward(x).decoded);
    const Message message = fence.pass(Direction::forward, x, ask);

    const auto values = find_eigenvalues(gram(x, shape), shape.columns);
    double best = 0;
    for (std::uint64_t i = 0; i < 8; ++i) {
        best += values[i];
    }
    const double error = distance(x, message.decoded);
    EXPECT_GT(energy(x) - error, 0.99 * best);
    EXPECT_LT(error, 0.9 * old_error);
}

TEST(SubspaceCodec, evaluates_densely_before_there_is_a_basis) {
    const MatrixShape shape{12, 64};
    Fence fence("subspace(8,int4)", shape);
    const Numbers x = make_numbers(shape, 1, geometric);
    CodecKey evaluation;
    evaluation.use = Use::evaluation;
    evaluation.wants_new_basis = true;

    const Message before = fence.pass(Direction::forward, x, evaluation);
    fence.forward(x);
    const Message after = fence.pass(Direction::forward, x, evaluation);

    EXPECT_EQ(before.spec.id, CodecId::dense);
    EXPECT_EQ(before.spec.values, ValueFormat::f32);
    EXPECT_EQ(before.decoded, x);
    EXPECT_EQ(after.spec.id, CodecId::subspace);
    EXPECT_FALSE(after.spec.carries_basis);
}

TEST(SubspaceCodec, is_exact_where_the_rank_is_not_more_than_what_is_kept) {
    const MatrixShape shape{50, 64};
    const auto of_rank = [](std::uint64_t rank) {
        return [rank](std::uint64_t i) { return i < rank ? 1.0 : 0.0; };
    };
    for (const std::uint64_t rank : {0, 1, 3, 8}) {
        Fence fence("subspace(8,fp32)", shape);
        const Numbers x = make_numbers(shape, rank, of_rank(rank));

        const Message message = fence.forward(x);

        EXPECT_LE(distance(x, message.decoded), 1e-6 * energy(x)) << rank;
        EXPECT_LT(orthonormality_error(basis_of(*fence.before), 8), 2e-3)
            << rank;
    }
}

TEST(SubspaceCodec, is_exact_where_only_one_column_is_not_zero) {
    const MatrixShape shape{50, 64};
    Fence fence("subspace(8,fp32)", shape);
    Numbers x(shape.size(), 0.0f);
    for (std::uint64_t r = 0; r < shape.rows; ++r) {
        x[r * shape.columns + 40] = static_cast<float>(draw(1, r));
    }

    EXPECT_EQ(fence.forward(x).decoded, x);
    EXPECT_LT(orthonormality_error(basis_of(*fence.before), 8), 2e-3);
}

TEST(SubspaceCodec, is_exact_where_all_columns_are_kept) {
    const MatrixShape shape{20, 65};
    Fence fence("subspace(1,fp32)", shape);
    const Numbers x = make_numbers(shape, 1, flat);

    EXPECT_EQ(fence.forward(x).decoded, x);
}

TEST(SubspaceCodec, takes_tiny_and_large_numbers) {
    const MatrixShape shape{30, 64};
    for (const double size : {1e-40, 1e-38, 1e-30, 1e15, 1e30, 1e36}) {
        Fence fence("subspace(4,fp32)", shape);
        const Numbers x = make_numbers(shape, 1, [size](std::uint64_t i) {
            return size * std::pow(0.8, double(i));
        });

        const Message message = fence.forward(x);

        EXPECT_LT(distance(x, message.decoded), 0.002 * energy(x)) << size;
        EXPECT_LT(orthonormality_error(basis_of(*fence.before), 16), 2e-3);
    }
}

TEST(SubspaceCodec, what_is_not_finite_shows_and_spoils_no_basis) {
    using Limits = std::numeric_limits<float>;
    const MatrixShape shape{300, 64};
    for (const char* text : {"subspace(8,fp32)", "subspace(8,int4)"}) {
        for (const float bad : {Limits::quiet_NaN(), Limits::infinity()}) {
            Fence fence(text, shape);
            Numbers x = make_numbers(shape, 1, geometric);
            x[200 * shape.columns + 7] = bad;

            const Message message = fence.forward(x);

            EXPECT_TRUE(std::ranges::any_of(
                std::span(message.decoded)
                    .subspan(200 * shape.columns, shape.columns),
                [](float number) { return !std::isfinite(number); }));
            EXPECT_TRUE(std::ranges::all_of(
                std::span(message.decoded).first(128 * shape.columns),
                [](float number) { return std::isfinite(number); }));
            EXPECT_TRUE(std::ranges::all_of(
                basis_of(*fence.after),
                [](float number) { return std::isfinite(number); }));
        }
    }
}

TEST(SubspaceCodec, refuses_coefficients_without_a_basis) {
    const MatrixShape shape{12, 64};
    Fence fence("subspace(8,int4)", shape);
    CodecSpec spec = fence.before->spec(Direction::forward, {});
    spec.carries_basis = false;
    Numbers numbers(shape.size());

    EXPECT_THROW(fence.after->decode(Direction::forward,
                                     {},
                                     spec,
                                     Bytes(payload_bytes(spec, shape)),
                                     numbers),
                 Error);
    EXPECT_THROW(
        fence.before->decode(Direction::backward,
                             {},
                             fence.before->spec(Direction::backward, {}),
                             Bytes(payload_bytes(spec, shape)),
                             numbers),
        Error);
}

TEST(SubspaceCodec, refuses_a_basis_where_none_may_come) {
    const MatrixShape shape{12, 64};
    Fence fence("subspace(8,int4)", shape);
    const Message message = fence.forward(make_numbers(shape, 1, geometric));
    ASSERT_TRUE(message.spec.carries_basis);
    const Numbers basis = basis_of(*fence.after);
    CodecKey evaluation;
    evaluation.use = Use::evaluation;
    Numbers numbers(shape.size());

    EXPECT_THROW(fence.after->decode(Direction::forward,
                                     evaluation,
                                     message.spec,
                                     message.payload,
                                     numbers),
                 Error);
    EXPECT_THROW(
        fence.before->decode(
            Direction::backward, {}, message.spec, message.payload, numbers),
        Error);
    Bytes damaged = message.payload;
    damaged[0] = std::byte{0x00};
    damaged[1] = std::byte{0x7C};
    EXPECT_THROW(fence.after->decode(
                     Direction::forward, {}, message.spec, damaged, numbers),
                 Error);
    EXPECT_EQ(basis_of(*fence.after), basis);
}

TEST(SubspaceCodec, graded_values_have_less_error_in_as_many_bytes) {
    const MatrixShape shape{256, 64};
    const Numbers x = make_numbers(shape, 1, geometric);
    const auto error = [&](const char* text, std::size_t& bytes) {
        Fence fence(text, shape);
        const Message first = fence.forward(x);
        const Message message = fence.forward(x);
        bytes = message.payload.size();
        EXPECT_EQ(first.decoded, message.decoded);
        double lost = 0;
        double all = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            lost += std::pow(double{x[i]} - message.decoded[i], 2);
            all += std::pow(x[i], 2);
        }
        return std::sqrt(lost / all);
    };
    std::size_t int_bytes = 0;
    std::size_t graded_bytes = 0;

    const double int4 = error("subspace(1.1,int4)", int_bytes);
    const double graded = error("subspace(1.1,graded)", graded_bytes);
    EXPECT_EQ(graded_bytes, int_bytes);
    EXPECT_NEAR(int4, 0.12, 0.03);
    EXPECT_LT(graded, int4 / 3);

    for (const std::string bits : {"5", "6"}) {
        const double even =
            error(("subspace(1.1,int" + bits + ")").c_str(), int_bytes);
        const double uneven =
            error(("subspace(1.1,graded" + bits + ")").c_str(), graded_bytes);
        EXPECT_EQ(graded_bytes, int_bytes);
        EXPECT_LT(uneven, even / 3);
    }
}

TEST(SubspaceCodec, refuses_bits_that_are_none) {
    const MatrixShape shape{128, 64};
    Fence fence("subspace(8,graded)", shape);
    fence.forward(make_numbers(shape, 1, geometric));
    const CodecState good = fence.before->state().front();
    ASSERT_EQ(good.tensor.type.sizes, (std::vector<std::int64_t>{65, 8}));
    const auto set = [&](float bits) {
        CodecState state = good;
        for (std::size_t j = 0; j < 8; ++j) {
            std::memcpy(&state.tensor.bytes[4 * (64 * 8 + j)], &bits, 4);
        }
        fence.after->set_state({state});
    };

    for (const float bits : {1.0f, -2.0f, 2.5f, 5.0f, 7.0f, 8.0f, 300.0f}) {
        EXPECT_THROW(set(bits), InputError) << bits;
    }
    set(4.0f);
    set(0.0f);
}

TEST(SubspaceCodec, refuses_a_basis_that_is_none) {
    const MatrixShape shape{12, 64};
    Fence fence("subspace(8,int4)", shape);
    fence.forward(make_numbers(shape, 1, geometric));
    const CodecState good = fence.before->state().front();
    const auto set = [&](const CodecState& state) {
        fence.after->set_state({state});
    };

    CodecState transposed = good;
    transposed.tensor.type.sizes = {8, 64};
    EXPECT_THROW(set(transposed), InputError);
    CodecState finer = good;
    const float number = 0.1f;
    std::memcpy(finer.tensor.bytes.data(), &number, 4);
    EXPECT_THROW(set(finer), InputError);
    CodecState infinite = good;
    const float infinity = std::numeric_limits<float>::infinity();
    std::memcpy(infinite.tensor.bytes.data(), &infinity, 4);
    EXPECT_THROW(set(infinite), InputError);
    EXPECT_THROW(fence.after->set_state({good, good}), InputError);
    set(good);
    EXPECT_EQ(fence.after->state(), fence.before->state());
}

}  // namespace
}  // namespace fusionllm::test
