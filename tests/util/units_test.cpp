#include "fusionllm/util/units.hpp"

#include <limits>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

using Cases = std::vector<std::pair<const char*, double>>;
using Parser = double (*)(std::string_view);

void expect_values(Parser parse, const Cases& cases) {
    for (const auto& [text, value] : cases) {
        EXPECT_DOUBLE_EQ(parse(text), value) << text;
    }
}

void expect_refused(Parser parse, const std::vector<const char*>& texts) {
    for (const char* text : texts) {
        EXPECT_THROW(parse(text), InputError) << text;
    }
}

std::string message_of(Parser parse, std::string_view text) {
    try {
        parse(text);
    } catch (const InputError& error) {
        return error.what();
    }
    return "was taken";
}

TEST(UnitsTest, bandwidth_tells_bits_from_bytes) {
    expect_values(parse_bytes_per_s,
                  {{"8 bit/s", 1.0},
                   {"8 kbit/s", 1e3},
                   {"8 Mbit/s", 1e6},
                   {"10 Gbit/s", 1.25e9},
                   {"0.8 Tbit/s", 1e11},
                   {"3 B/s", 3.0},
                   {"3 kB/s", 3e3},
                   {"8 MB/s", 8e6},
                   {"1 GB/s", 1e9},
                   {"2 TB/s", 2e12},
                   {"1 KiB/s", 1024.0},
                   {"1 MiB/s", 1048576.0},
                   {"1 GiB/s", 1073741824.0},
                   {" 8Mbit/s ", 1e6},
                   {"1e3 B/s", 1e3},
                   {"0 B/s", 0.0}});
}

TEST(UnitsTest, bandwidth_refuses_what_could_be_bits_or_bytes) {
    expect_refused(parse_bytes_per_s,
                   {"8 Mb/s",
                    "8 mb/s",
                    "8 mB/s",
                    "8 MBit/s",
                    "8 mbit/s",
                    "8 Mbps",
                    "8 MBps",
                    "8 Mbit",
                    "8 MB",
                    "8 M",
                    "8 /s",
                    "8"});
    EXPECT_THAT(message_of(parse_bytes_per_s, "8 Mb/s"),
                testing::AllOf(testing::HasSubstr("'8 Mb/s'"),
                               testing::HasSubstr("unknown unit 'Mb/s'"),
                               testing::HasSubstr("Mbit/s"),
                               testing::HasSubstr("MB/s"),
                               testing::HasSubstr("could be either")));
}

TEST(UnitsTest, memory_tells_powers_of_two_from_powers_of_ten) {
    expect_values(parse_bytes,
                  {{"5 B", 5.0},
                   {"2 kB", 2e3},
                   {"2 MB", 2e6},
                   {"2 GB", 2e9},
                   {"2 TB", 2e12},
                   {"2 KiB", 2048.0},
                   {"2 MiB", 2097152.0},
                   {"11 GiB", 11811160064.0},
                   {"1 TiB", 1099511627776.0},
                   {"1.5GiB", 1610612736.0}});
}

TEST(UnitsTest, memory_refuses_bits_and_wrong_letters) {
    expect_refused(parse_bytes,
                   {"8 Gb",
                    "8 Gbit",
                    "8 gb",
                    "8 GIB",
                    "8 Gi",
                    "8 G",
                    "8 KB",
                    "8 b",
                    "8 bytes",
                    "8 GB/s",
                    "8"});
    EXPECT_THAT(message_of(parse_bytes, "8"), testing::HasSubstr("no unit"));
}

TEST(UnitsTest, times_and_speeds_have_their_units) {
    expect_values(parse_seconds,
                  {{"7 ns", 7e-9},
                   {"7 us", 7e-6},
                   {"20 ms", 0.02},
                   {"1.5 s", 1.5},
                   {"2 min", 120.0},
                   {"2 h", 7200.0},
                   {"2 d", 172800.0}});
    expect_values(parse_flops_per_s,
                  {{"1 flop/s", 1.0},
                   {"1 kflop/s", 1e3},
                   {"2 Mflop/s", 2e6},
                   {"100 Gflop/s", 1e11},
                   {"19.5 Tflop/s", 19.5e12},
                   {"1 Pflop/s", 1e15}});
    expect_refused(parse_seconds, {"2", "2 m", "2 M", "2 S", "2 sec", "2 Ms"});
    expect_refused(parse_flops_per_s,
                   {"1", "1 Tflop", "1 Tflops", "1 T", "1 tflop/s"});
}

TEST(UnitsTest, refuses_what_is_no_quantity) {
    for (const Parser parse :
         {parse_bytes, parse_seconds, parse_bytes_per_s, parse_flops_per_s}) {
        expect_refused(parse,
                       {"",
                        " ",
                        "s",
                        "GiB",
                        "-1 s",
                        "-1 B",
                        "inf s",
                        "nan B",
                        "1e999 s",
                        "1,5 s",
                        "1 s s",
                        "--1 B",
                        "0x10 B"});
    }
}

TEST(UnitsTest, bytes_are_shown_in_powers_of_two) {
    EXPECT_EQ(format_bytes(0.0), "0 B");
    EXPECT_EQ(format_bytes(1023.0), "1023 B");
    EXPECT_EQ(format_bytes(1024.0), "1.0 KiB");
    EXPECT_EQ(format_bytes(11.0 * 1073741824.0), "11.0 GiB");
    EXPECT_EQ(format_bytes(1048575.0), "1.0 MiB");
    EXPECT_EQ(format_bytes(-2048.0), "-2.0 KiB");
}

TEST(UnitsTest, seconds_are_shown_as_people_say_them) {
    EXPECT_EQ(format_seconds(0.0), "0 s");
    EXPECT_EQ(format_seconds(2.5e-9), "2.50 ns");
    EXPECT_EQ(format_seconds(50e-6), "50.0 us");
    EXPECT_EQ(format_seconds(1.534e-3), "1.53 ms");
    EXPECT_EQ(format_seconds(0.0099999), "10.0 ms");
    EXPECT_EQ(format_seconds(0.99999), "1.00 s");
    EXPECT_EQ(format_seconds(59.97), "1 min 00 s");
    EXPECT_EQ(format_seconds(125.4), "2 min 05 s");
    EXPECT_EQ(format_seconds(3599.7), "1 h 00 min");
    EXPECT_EQ(format_seconds(7380.0), "2 h 03 min");
    EXPECT_EQ(format_seconds(86390.0), "1 d 00 h");
    EXPECT_EQ(format_seconds(273600.0), "3 d 04 h");
    EXPECT_EQ(format_seconds(-0.02), "-20.0 ms");
    EXPECT_EQ(format_seconds(std::numeric_limits<double>::infinity()), "inf s");
}

TEST(UnitsTest, counts_are_shown_with_three_digits) {
    EXPECT_EQ(format_count(0.0), "0");
    EXPECT_EQ(format_count(999.0), "999");
    EXPECT_EQ(format_count(0.5), "0.50");
    EXPECT_EQ(format_count(1000.0), "1.00 k");
    EXPECT_EQ(format_count(124439808.0), "124 M");
    EXPECT_EQ(format_count(3.51e12), "3.51 T");
    EXPECT_EQ(format_count(999999.0), "1.00 M");
    EXPECT_EQ(format_count(-1500.0), "-1.50 k");
}

TEST(UnitsTest, written_quantities_look_as_people_write_them) {
    EXPECT_EQ(write_bits_per_s(parse_bytes_per_s("8 Mbit/s")), "8 Mbit/s");
    EXPECT_EQ(write_bits_per_s(parse_bytes_per_s("1 GB/s")), "8 Gbit/s");
    EXPECT_EQ(write_bits_per_s(parse_bytes_per_s("100 Mbit/s")), "100 Mbit/s");
    EXPECT_EQ(write_bits_per_s(parse_bytes_per_s("0.5 bit/s")), "0.5 bit/s");
    EXPECT_EQ(write_bytes_per_s(parse_bytes_per_s("1555 GB/s")), "1555 GB/s");
    EXPECT_EQ(write_seconds(parse_seconds("20 us")), "20 us");
    EXPECT_EQ(write_seconds(20e-6), "20 us");
    EXPECT_EQ(write_seconds(0.0), "0 ns");
    EXPECT_EQ(write_bytes(parse_bytes("11 GiB")), "11 GiB");
    EXPECT_EQ(write_flops_per_s(parse_flops_per_s("19.5 Tflop/s")),
              "19.5 Tflop/s");
}

TEST(UnitsTest, written_quantities_read_back_exactly) {
    std::vector<double> numbers = {
        0.0, 0.1, 1.0 / 3.0, 5e-324, 1e300, 7e22, 12345678.9, 1e9, 67e-3};
    for (double x = 1e-12; x < 1e18; x *= 7.3) {
        numbers.push_back(x);
    }

    for (const double number : numbers) {
        EXPECT_EQ(parse_bytes(write_bytes(number)), number);
        EXPECT_EQ(parse_seconds(write_seconds(number)), number);
        EXPECT_EQ(parse_bytes_per_s(write_bytes_per_s(number)), number);
        EXPECT_EQ(parse_bytes_per_s(write_bits_per_s(number)), number);
        EXPECT_EQ(parse_flops_per_s(write_flops_per_s(number)), number);
    }
}

}  // namespace
}  // namespace fusionllm::test
