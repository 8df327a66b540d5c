#include "fusionllm/comm/mpi.hpp"

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

TEST(Mpi, gathers_texts_of_different_lengths_on_every_rank) {
    const auto world = mpi::Communicator::world();
    const auto text_of = [](int rank) {
        return std::string(1000 * rank, static_cast<char>('a' + rank));
    };

    const auto texts = mpi::all_gather_strings(world, text_of(world.rank()));

    ASSERT_EQ(std::ssize(texts), world.size());
    for (int rank = 0; rank < world.size(); ++rank) {
        EXPECT_EQ(texts[rank], text_of(rank));
    }
}

TEST(Mpi, finds_the_ranks_of_this_host) {
    const auto world = mpi::Communicator::world();

    const auto host = world.split_by_host();

    EXPECT_EQ(host.size(), world.size()) << "these tests run on one host";
    EXPECT_EQ(host.rank(), world.rank());
}

TEST(Mpi, knows_that_a_launcher_started_it) {
    EXPECT_TRUE(mpi::is_launched());
}

TEST(Mpi, names_host_and_library_in_one_line_each) {
    const std::string library = mpi::library_version();

    EXPECT_FALSE(mpi::host_name().empty());
    EXPECT_NE(library.find("MPI"), library.npos) << library;
    EXPECT_EQ(library.find('\n'), library.npos);
}

TEST(Mpi, errors_are_errors_of_the_program_too) {
    const auto world = mpi::Communicator::world();

    const auto send_nowhere = [&] {
        FUSIONLLM_MPI_CALL(
            MPI_Send(nullptr, 0, MPI_BYTE, world.size(), 0, world.get()));
    };

    EXPECT_THROW(send_nowhere(), Error);
}

}  // namespace
}  // namespace fusionllm::test
