#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "fusionllm/topology/network.hpp"

namespace fusionllm {

//! What happens to a line of shaped links, in the testbed's time.
struct NamedChange {
    std::string text;  //!< as it was written
    std::string line;
    double factor = 1;  //!< of its rate; 0: nothing moves
    double begin_s = 0;
    double end_s = std::numeric_limits<double>::infinity();

    friend bool operator==(const NamedChange&, const NamedChange&) = default;
};

/*!
 * Of "lyon-osaka x0.1 at 30 s", "uplink of lyon x0 at 30 s for 5 s". A name may
 * have blanks in it. Throws `InputError` that quotes the text.
 */
NamedChange parse_named_change(const std::string& text);

/*!
 * The lines that it names: both directions of "lyon-osaka", in order. Throws
 * `InputError` where there are none: what lines there are.
 */
std::vector<LineId> find_lines(const Network& network,
                               const NamedChange& change);

}  // namespace fusionllm
