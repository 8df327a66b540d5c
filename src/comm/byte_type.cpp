#include "byte_type.hpp"

#include <array>

namespace fusionllm::detail {
namespace {

//! `num_blocks` blocks and the rest, one behind the other.
MPI_Datatype make_blocks(std::size_t num_blocks,
                         std::size_t block_bytes,
                         std::size_t rest_bytes) {
    MPI_Datatype block = MPI_DATATYPE_NULL;
    FUSIONLLM_MPI_CALL(
        MPI_Type_contiguous(static_cast<int>(block_bytes), MPI_BYTE, &block));
    const std::array<int, 2> lengths{static_cast<int>(num_blocks),
                                     static_cast<int>(rest_bytes)};
    const std::array<MPI_Aint, 2> offsets{
        0, static_cast<MPI_Aint>(num_blocks * block_bytes)};
    const std::array<MPI_Datatype, 2> types{block, MPI_BYTE};
    MPI_Datatype whole = MPI_DATATYPE_NULL;
    FUSIONLLM_MPI_CALL(MPI_Type_create_struct(
        2, lengths.data(), offsets.data(), types.data(), &whole));
    FUSIONLLM_MPI_CALL(MPI_Type_commit(&whole));
    FUSIONLLM_MPI_CALL(MPI_Type_free(&block));
    return whole;
}

}  // namespace

ByteType::ByteType(std::size_t num_bytes, std::size_t block_bytes) {
    if (num_bytes <= block_bytes) {
        count_ = static_cast<int>(num_bytes);
        return;
    }
    count_ = 1;
    type_ = make_blocks(
        num_bytes / block_bytes, block_bytes, num_bytes % block_bytes);
}

ByteType::~ByteType() {
    if (type_ != MPI_BYTE) {
        MPI_Type_free(&type_);
    }
}

std::size_t received_bytes(const MPI_Status& status) {
    // For the type made of blocks, Open MPI 4.1.4 counts wrongly from 2 GiB.
    MPI_Count num_bytes = 0;
    FUSIONLLM_MPI_CALL(MPI_Get_elements_x(&status, MPI_BYTE, &num_bytes));
    return static_cast<std::size_t>(num_bytes);
}

}  // namespace fusionllm::detail
