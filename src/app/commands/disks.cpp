#include "app/commands/disks.hpp"

#include <algorithm>
#include <charconv>
#include <random>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

namespace fs = std::filesystem;

namespace fusionllm {
namespace {

std::string draw_name() {
    std::random_device random;
    return fmt::format(".disks-{:08x}{:08x}", random(), random());
}

//! Of all ranks; who is not there yet is at its disk.
std::vector<std::string> meet(const mpi::Communicator& world,
                              const OnActivity& on_activity,
                              const std::string& text) {
    on_activity({0, Phase::agreement, 0});
    auto texts = mpi::all_gather_strings(world, text);
    on_activity({0, Phase::start, 0});
    return texts;
}

//! Folders to make for `folder`, the outermost first.
std::vector<fs::path> missing_folders(const fs::path& folder) {
    std::vector<fs::path> missing;
    std::error_code error;
    for (fs::path path = folder;
         path.has_relative_path() && !fs::exists(path, error);
         path = path.parent_path()) {
        missing.insert(missing.begin(), path);
    }
    return missing;
}

int lowest_number_in(const fs::path& folder) {
    int lowest = -1;
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        int rank = -1;
        std::from_chars(name.data(), name.data() + name.size(), rank);
        lowest = lowest < 0 ? rank : std::min(lowest, rank);
    }
    return lowest;
}

}  // namespace

std::vector<int> find_disk_owners(const mpi::Communicator& world,
                                  const fs::path& folder,
                                  const OnActivity& on_activity) {
    on_activity({0, Phase::start, 0});
    const auto made = missing_folders(fs::absolute(folder));
    const fs::path meeting =
        folder / meet(world, on_activity, draw_name()).at(0);
    std::string answer;
    try {
        fs::create_directories(meeting);
        write_file(meeting / std::to_string(world.rank()), "");
    } catch (const std::exception& error) {
        answer = error.what();
    }
    const auto problems = meet(world, on_activity, answer);
    int owner = world.rank();
    if (answer.empty()) {
        // Read once, after all are there: NFS remembers what it has read.
        owner = lowest_number_in(meeting);
    }
    const auto owners = meet(world, on_activity, std::to_string(owner));
    if (owner == world.rank()) {
        std::error_code ignored;
        fs::remove_all(meeting, ignored);
        for (auto path = made.rbegin(); path != made.rend(); ++path) {
            fs::remove(*path, ignored);  // if it is empty
        }
    }
    for (std::size_t rank = 0; rank < problems.size(); ++rank) {
        FUSIONLLM_VALIDATE(problems[rank].empty(),
                           "rank {} cannot write in the output folder '{}': "
                           "{}; give another by [run] output or --output",
                           rank,
                           folder.string(),
                           problems[rank]);
    }
    std::vector<int> owner_of_rank;
    for (const std::string& text : owners) {
        owner_of_rank.push_back(std::stoi(text));
    }
    return owner_of_rank;
}

void prepare_disks(const mpi::Communicator& world,
                   const std::vector<int>& owner_of_rank,
                   const fs::path& checkpoints,
                   Existing existing,
                   const OnActivity& on_activity) {
    constexpr int root = 0;
    const int rank = world.rank();
    const bool is_other = rank != root && owner_of_rank[rank] == rank;
    std::string problem;
    if (is_other && existing == Existing::refuse &&
        find_latest_checkpoint(checkpoints)) {
        problem = "has checkpoints of another run";
    }
    if (is_other && existing == Existing::overwrite) {
        std::error_code failed;
        fs::remove_all(checkpoints, failed);
        problem = failed ? failed.message() : "";
    }
    const auto problems = meet(world, on_activity, problem);
    for (std::size_t other = 0; other < problems.size(); ++other) {
        FUSIONLLM_VALIDATE(
            problems[other].empty(),
            "'{}' on the disk of rank {}: {}; start anew with --overwrite, or "
            "give another folder by [run] output or --output",
            checkpoints.string(),
            other,
            problems[other]);
    }
}

void check_group_disks(const std::vector<int>& owner_of_rank,
                       const std::vector<int>& group_of_rank,
                       const fs::path& folder) {
    for (std::size_t rank = 0; rank < owner_of_rank.size(); ++rank) {
        const auto first = static_cast<std::size_t>(
            std::ranges::find(group_of_rank, group_of_rank[rank]) -
            group_of_rank.begin());
        FUSIONLLM_VALIDATE(
            owner_of_rank[rank] == owner_of_rank[first],
            "ranks {} and {} are of one group, whose checkpoints are one file, "
            "but the output folder '{}' is on a disk of its own for each; give "
            "one that they share, or make their hosts two sites in [topology]",
            first,
            rank,
            folder.string());
    }
}

}  // namespace fusionllm
