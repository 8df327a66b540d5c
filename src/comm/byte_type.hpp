#pragma once

#include <cstddef>

#include "fusionllm/comm/mpi.hpp"

namespace fusionllm::detail {

/*!
 * `num_bytes` as the count and datatype of one MPI message.
 *
 * MPI counts are ints. More than `block_bytes` bytes are therefore one element
 * of a type made of blocks; here is the only place that knows.
 */
class ByteType {
public:
    ByteType(std::size_t num_bytes, std::size_t block_bytes);
    ~ByteType();
    ByteType(const ByteType&) = delete;
    ByteType& operator=(const ByteType&) = delete;

    int count() const { return count_; }
    MPI_Datatype get() const { return type_; }

private:
    int count_;
    MPI_Datatype type_ = MPI_BYTE;
};

//! Bytes of the message that the status is about.
std::size_t received_bytes(const MPI_Status& status);

}  // namespace fusionllm::detail
