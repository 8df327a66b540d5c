#pragma once

#include <functional>

#include <mpi.h>

namespace fusionllm::detail {

/*!
 * Run `action` on every rank of the group (collective). If it throws on any
 * of them, all throw an `Error` with the message of the lowest such rank, so
 * that no rank waits for one that has left.
 */
void run_agreed(MPI_Comm group, const std::function<void()>& action);

}  // namespace fusionllm::detail
