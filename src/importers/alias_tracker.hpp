#pragma once

#include <map>
#include <string>
#include <vector>

#include "exported_program.hpp"

namespace fusionllm::detail {

//! Names of the tensors that a node reads.
std::vector<std::string> read_tensors(const ExportedNode& node);
//! Inputs of the user that no node reads.
std::vector<std::string> unused_inputs(const ExportedProgram& program);

/*!
 * Which exported tensors may share memory, to know when a change in place is
 * seen through another name.
 */
class AliasTracker {
public:
    //! The node's outputs may lie in memory of what it reads.
    void join(const ExportedNode& node);

    /*!
     * Node number `position` changes `tensor` in place. Throws `InputError` if
     * a later node reads the memory by another name than that of the tensor:
     * the change would have to be carried over.
     */
    void check_change(const ExportedProgram& program,
                      std::size_t position,
                      const std::string& tensor,
                      const std::string& where) const;

private:
    int group(const std::string& name);

    std::map<std::string, int> groups_;
    int next_ = 0;
};

}  // namespace fusionllm::detail
