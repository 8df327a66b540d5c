#pragma once

#include <cstddef>
#include <string_view>

namespace fusionllm::detail {

//! What the flops of an op are counted by.
enum class Work {
    none,
    per_output,   //!< elements of the first output
    per_input,    //!< elements of the first argument
    contraction,  //!< multiply-adds of a matrix product
    convolution,  //!< multiply-adds of a convolution
};

//! What an op moves through memory, forward.
enum class Traffic {
    dense,      //!< reads all arguments, writes all outputs
    view,       //!< nothing: the output shows the first argument
    may_copy,   //!< a view or a copy: priced as a copy, kept as a view
    gather,     //!< reads as many elements of a table as it writes
    write_only  //!< reads no elements
};

//! What autograd keeps from forward to backward.
enum class Keeps {
    nothing,
    input,        //!< first argument
    second,       //!< second argument: a mask, indices
    output,       //!< all outputs
    factors,      //!< a factor, if the other one has a gradient
    input_stats,  //!< first argument, mean and deviation of each of its rows
    loss,         //!< as many log-probabilities as inputs, and the targets
};

//! What the cost model knows of an operator; all its overloads share a row.
struct CostRow {
    std::string_view target;
    Work work = Work::none;
    double flops = 0;  //!< per unit of work
    Traffic traffic = Traffic::dense;
    Keeps keeps = Keeps::nothing;
    std::size_t factor = 0;  //!< argument that is the first of two factors
};

//! The operator's row, or null.
const CostRow* find_cost_row(std::string_view target);

}  // namespace fusionllm::detail
