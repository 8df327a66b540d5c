#pragma once

#include <string>
#include <utility>
#include <vector>

#include "exported_program.hpp"

namespace fusionllm::detail {

//! What a call does to memory, by the names of exported tensors.
struct OperatorMemory {
    //! What it writes to, in the order of its arguments.
    std::vector<std::string> written;
    //! A tensor that it is given, a result that may lie in its memory.
    std::vector<std::pair<std::string, std::string>> shared;
    bool is_divided = false;  //!< each result has a part of its own
};

/*!
 * As the operator's schema says, by name for operators that share memory
 * without saying so. Results of an operator that neither this LibTorch nor a
 * list here knows may lie in the memory of all that it is given.
 */
OperatorMemory memory_of(const ExportedNode& node);

//! Throws `InputError` if the call, which is none of `_`, writes to a tensor
//! that is no statistic of a batch norm.
void check_written(const ExportedNode& node, const OperatorMemory& memory);

//! Whether the operator's results may lie in memory of what it is given; for
//! one that this LibTorch lacks, true unless it is known not to.
bool may_alias(const std::string& target, const std::string& overload);

}  // namespace fusionllm::detail
