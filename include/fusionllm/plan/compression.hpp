#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fusionllm/wire/codec_choice.hpp"

namespace fusionllm {

/*!
 * What the user asks of compression.
 *
 * The rules, which give every value at a cut between two devices its codec:
 *
 * - `none`: everything is dense.
 * - `uniform`: `codec` everywhere.
 * - `paper`: top-k whose ratio grows with the link's time, AdaTopK as we read
 *   it (arXiv 2410.12707).
 * - `bottleneck`: the least ratio of one codec at which the link is no longer
 *   the bottleneck. (ours)
 * - `adaptive`: the codec of least error of which the same is true. (ours)
 * - `cut`: nothing but token ids crosses; a control, made in the graph, not by
 *   fences.
 */
struct CompressionOptions {
    std::string rule = "none";
    //! Text of a `CodecChoice`; empty: the rule chooses.
    std::string codec;
    //! Of a `codec` that leaves its ratio out.
    double element_ratio = 100;
    //! Most that a value is compressed, both directions together.
    double max_byte_ratio = 100;
    //! Largest relative L2 error of a value or gradient; 0: no limit.
    double max_error = 0;
    //! What planners take the squared error of a value to cost, as a share of
    //! the step. Of `adaptive` without a `codec`.
    double error_price = 12;
    //! Whether codecs follow the links while training: "off", "on" or "replay".
    std::string adapt = "off";
    //! The choices of another run, for "replay".
    std::filesystem::path replay;

    friend bool operator==(const CompressionOptions&,
                           const CompressionOptions&) = default;
};

//! In the order above.
const std::vector<std::string>& compression_rule_names();

//! The rules that look at links, and so may follow them.
bool follows_links(const std::string& rule);

/*!
 * What `codec` says, for rules that use it: `top_k(element_ratio,int4)` if it
 * is empty. Throws `InputError` for a text that is no codec.
 */
CodecChoice requested_codec(const CompressionOptions& options);

/*!
 * Half a sentence on what does not go together in the options, "" if all does:
 * `codec` and `rule`, `adapt` and `rule`, `adapt` and `replay`.
 */
struct OptionProblem {
    std::string key;  //!< the one to name
    std::string text;
};
OptionProblem find_problem(const CompressionOptions& options);

}  // namespace fusionllm
