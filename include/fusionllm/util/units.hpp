#pragma once

#include <string>
#include <string_view>

namespace fusionllm {

/*
 * Quantities as people write them, in SI inside. Bits and bytes are told
 * apart ("8 Mbit/s" = 1e6 bytes/s); a number without a unit is refused. The
 * exceptions are `InputError`s that list the units that would do.
 */

double parse_bytes(std::string_view text);        //!< "11 GiB", "2 MB"
double parse_seconds(std::string_view text);      //!< "20 ms", "2 min"
double parse_bytes_per_s(std::string_view text);  //!< "8 Mbit/s", "1 GB/s"
double parse_flops_per_s(std::string_view text);  //!< "19.5 Tflop/s"

// The shortest text that reads back as exactly the same number, which is finite
// and not negative.
std::string write_bytes(double bytes);              //!< "11 GiB"
std::string write_seconds(double seconds);          //!< "20 ms"
std::string write_bytes_per_s(double bytes_per_s);  //!< "1555 GB/s"
std::string write_bits_per_s(double bytes_per_s);   //!< "8 Mbit/s"
std::string write_flops_per_s(double flops_per_s);  //!< "19.5 Tflop/s"

// Rounded, to look at.
std::string format_bytes(double bytes);      //!< "11.0 GiB"
std::string format_seconds(double seconds);  //!< "1.53 ms", "2 h 03 min"
std::string format_count(double count);      //!< "124 M", "3.51 T"

}  // namespace fusionllm
