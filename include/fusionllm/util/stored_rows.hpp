#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

/*!
 * A tensor that lies in a file and is read by ranges of its first axis, so that
 * who reads it needs to know nothing of the file's format.
 */
struct StoredRows {
    TensorType type;   //!< at least one axis, the rows
    std::string name;  //!< for messages: "'x' of 'data.h5'"
    //! Copy rows `first` and following, as many as fill `rows`, row-major.
    //! Throws `Error` naming the file.
    std::function<void(std::size_t first, std::span<std::byte> rows)> read;

    std::size_t size() const {
        return static_cast<std::size_t>(type.sizes.front());
    }
    //! Without the first axis.
    TensorType row_type() const {
        return {type.dtype, {type.sizes.begin() + 1, type.sizes.end()}};
    }
};

//! One after another; all have rows of one type. Throws `InputError` with the
//! names of two that have not.
StoredRows join_rows(std::vector<StoredRows> parts);

}  // namespace fusionllm
