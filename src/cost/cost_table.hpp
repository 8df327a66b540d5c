#pragma once

#include <cstddef>
#include <string_view>

#include "fusionllm/topology/device_kind.hpp"

namespace fusionllm::detail {

//! What the flops of an op are counted by.
enum class Work {
    none,
    per_output,  //!< elements of the first output
    per_input,   //!< elements of the first argument
    product,     //!< multiply-adds of a matrix product
    convolve,    //!< multiply-adds of a convolution, transposed or not
    einsum,      //!< multiply-adds of a product in index notation
    window,      //!< elements of all pooling windows
    attend,      //!< multiply-adds of two products, softmax between
    recur,       //!< multiply-adds of a recurrent net's products
};

//! What an op moves through memory, forward.
enum class Traffic {
    dense,       //!< reads all arguments, writes all outputs
    pass_on,     //!< the same; backward, gradients are passed on as they are
    view,        //!< nothing: the output shows the first argument
    may_copy,    //!< a view or a copy: priced as a copy, kept as a view
    part,        //!< a view if cut along the outermost dim, else a copy
    gather,      //!< reads as many elements of the first argument as it writes
    rows,        //!< reads a row of the first argument an index
    write_only,  //!< reads no elements
};

//! What autograd keeps from forward to backward.
enum class Keeps {
    nothing,
    input,        //!< first argument
    second,       //!< second argument: a mask, indices
    rest,         //!< all values but the first
    all,          //!< all values that it reads
    output,       //!< all outputs
    indices,      //!< outputs but the first
    both,         //!< first argument and all outputs
    factors,      //!< a factor, if the other one has a gradient
    row_stats,    //!< first argument; mean, deviation of each row it normalises
    group_stats,  //!< the same of each group of channels
    channel_stats,   //!< the same of each channel
    instance_stats,  //!< the same of each channel of each sample
    loss,            //!< as many log-probabilities as inputs, and the targets
    noise,           //!< a mask of the input's size
    positions,       //!< first argument and an i64 an output element
    attention,       //!< query, key, value, output and a number a query
    recurrence,      //!< first argument and the results of all products
};

//! What the cost model knows of an operator; all its overloads share a row.
struct CostRow {
    std::string_view target;
    OpKind kind = OpKind::other;
    Work work = Work::none;
    double flops = 0;  //!< per unit of work
    Keeps keeps = Keeps::nothing;
    Traffic traffic = Traffic::dense;
    //! Argument that is the first of two factors, or the dim of a part.
    std::size_t position = 0;
};

//! The operator's row, or null.
const CostRow* find_cost_row(std::string_view target);

}  // namespace fusionllm::detail
