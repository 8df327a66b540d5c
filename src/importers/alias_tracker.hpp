#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "exported_program.hpp"
#include "operator_memory.hpp"

namespace fusionllm::detail {

//! Names of the tensors that a node reads.
std::vector<std::string> read_tensors(const ExportedNode& node);
//! Whether an export made the tensor as a copy of a constant.
bool is_constant(const ExportedProgram& program, const std::string& tensor);
//! Inputs of the user that no node reads.
std::vector<std::string> unused_inputs(const ExportedProgram& program);

/*!
 * Which exported tensors may share memory, to know when a change in place is
 * seen through another name.
 */
class AliasTracker {
public:
    //! What the calls before this one share is known.
    void add(const OperatorMemory& memory);

    /*!
     * Node number `position` changes `tensor` in place. Throws `InputError` if
     * a later node reads the memory by another name than that of the tensor,
     * or the model gives it back or keeps it: the change would have to be
     * carried over.
     */
    void check_change(const ExportedProgram& program,
                      std::size_t position,
                      const std::string& tensor,
                      const std::string& where) const;

private:
    bool is_shared(const std::string& one, const std::string& other) const;

    //! Where each tensor may lie; none for one that is alone.
    std::map<std::string, std::set<int>> places_;
    int next_ = 0;
};

}  // namespace fusionllm::detail
