#include "agree.hpp"

#include <climits>
#include <exception>
#include <string>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

void mpi_call(int code, const char* what) {
    if (code != MPI_SUCCESS) {
        char text[MPI_MAX_ERROR_STRING];
        int length = 0;
        MPI_Error_string(code, text, &length);
        throw Error(
            fmt::format("{} failed while ranks agreed on a checkpoint: {}",
                        what,
                        std::string(text, length)));
    }
}

}  // namespace

void run_agreed(const WriteGroup& group, const std::function<void()>& action) {
    const MPI_Comm communicator = group.communicator;
    const auto say = [&](WritePart part) {
        if (group.on_part) {
            group.on_part(part);
        }
    };
    std::string message;
    bool has_failed = false;
    say(WritePart::own);
    try {
        action();
    } catch (const std::exception& error) {
        has_failed = true;
        message = error.what();
    }
    say(WritePart::agree);
    int rank = 0;
    MPI_Comm_rank(communicator, &rank);
    int first_failed = has_failed ? rank : INT_MAX;
    mpi_call(
        MPI_Allreduce(
            MPI_IN_PLACE, &first_failed, 1, MPI_INT, MPI_MIN, communicator),
        "MPI_Allreduce");
    if (first_failed == INT_MAX) {
        return;
    }
    int length = static_cast<int>(message.size());
    mpi_call(MPI_Bcast(&length, 1, MPI_INT, first_failed, communicator),
             "MPI_Bcast");
    message.resize(length);
    mpi_call(
        MPI_Bcast(message.data(), length, MPI_CHAR, first_failed, communicator),
        "MPI_Bcast");
    throw Error(message);
}

}  // namespace fusionllm::detail
