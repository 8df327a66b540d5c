#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <system_error>

#include <fcntl.h>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "step-";
constexpr std::string_view partial_suffix = ".partial";

fs::path complete_folder(const fs::path& checkpoints, std::uint64_t step) {
    return checkpoints / fmt::format("{}{}", prefix, step);
}

fs::path partial_folder(const fs::path& checkpoints, std::uint64_t step) {
    return checkpoints / fmt::format("{}{}{}", prefix, step, partial_suffix);
}

//! N of "step-N", or nothing.
std::optional<std::uint64_t> parse_step(std::string_view name) {
    if (!name.starts_with(prefix)) {
        return std::nullopt;
    }
    name.remove_prefix(prefix.size());
    std::uint64_t step = 0;
    const char* end = name.data() + name.size();
    const auto result = std::from_chars(name.data(), end, step);
    const bool is_number = result.ec == std::errc{} && result.ptr == end;
    return is_number ? std::optional(step) : std::nullopt;
}

bool is_partial(std::string_view name) {
    return name.starts_with(prefix) && name.ends_with(partial_suffix);
}

//! Run a folder operation; its failure becomes a sentence.
template <class Action>
void change_folder(const char* doing, const fs::path& folder, Action action) {
    try {
        action();
    } catch (const fs::filesystem_error& error) {
        throw Error(fmt::format(
            "cannot {} the checkpoint folder '{}': {}; check its permissions "
            "and the space on the disk",
            doing,
            folder.string(),
            error.code().message()));
    }
}

std::vector<fs::path> list_folder(const fs::path& folder) {
    std::vector<fs::path> entries;
    if (fs::is_directory(folder)) {
        for (const auto& entry : fs::directory_iterator(folder)) {
            entries.push_back(entry.path());
        }
    }
    return entries;
}

//! "step-N" folders, newest first.
std::vector<fs::path> list_complete(const fs::path& checkpoints) {
    std::vector<std::pair<std::uint64_t, fs::path>> found;
    for (const fs::path& path : list_folder(checkpoints)) {
        const auto step = parse_step(path.filename().string());
        if (step && fs::is_directory(path)) {
            found.emplace_back(*step, path);
        }
    }
    std::sort(found.rbegin(), found.rend());
    std::vector<fs::path> folders;
    for (auto& [step, path] : found) {
        folders.push_back(std::move(path));
    }
    return folders;
}

void sync_tree(const fs::path& folder) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        sync_path(entry.path());
    }
    sync_path(folder);
}

/*!
 * Put `partial` in the place of `complete`, which exists and ends up under
 * the name of `partial`. At no time is there no complete folder, if the file
 * system can exchange two names; else for the time between two renames.
 */
void exchange(const fs::path& partial, const fs::path& complete) {
    if (::renameat2(AT_FDCWD,
                    partial.c_str(),
                    AT_FDCWD,
                    complete.c_str(),
                    RENAME_EXCHANGE) == 0) {
        return;
    }
    fs::path aside = complete;
    aside += ".old";
    aside += partial_suffix;
    fs::remove_all(aside);
    fs::rename(complete, aside);
    std::error_code failed;
    fs::rename(partial, complete, failed);
    if (failed) {
        fs::rename(aside, complete);
        throw fs::filesystem_error("rename", partial, complete, failed);
    }
    fs::rename(aside, partial);
}

//! A deletion that is interrupted leaves no folder that looks complete.
void remove_complete(const fs::path& folder) {
    fs::path partial = folder;
    partial += partial_suffix;
    fs::remove_all(partial);
    fs::rename(folder, partial);
    fs::remove_all(partial);
}

}  // namespace

fs::path begin_checkpoint(const fs::path& checkpoints, std::uint64_t step) {
    const fs::path partial = partial_folder(checkpoints, step);
    change_folder("make", partial, [&] {
        fs::remove_all(partial);
        fs::create_directories(partial);
    });
    sync_path(checkpoints);
    return partial;
}

void seal_checkpoint(const fs::path& checkpoints,
                     const CheckpointManifest& manifest) {
    const fs::path partial = partial_folder(checkpoints, manifest.step);
    FUSIONLLM_EXPECTS(fs::is_directory(partial));

    write_file(partial / "manifest.json", to_json(manifest));
    change_folder("complete", partial, [&] { sync_tree(partial); });
}

fs::path commit_checkpoint(const fs::path& checkpoints, std::uint64_t step) {
    const fs::path partial = partial_folder(checkpoints, step);
    const fs::path complete = complete_folder(checkpoints, step);
    FUSIONLLM_EXPECTS(fs::is_directory(partial));

    change_folder("complete", complete, [&] {
        if (fs::exists(complete)) {
            exchange(partial, complete);
        } else {
            fs::rename(partial, complete);
        }
    });
    sync_path(checkpoints);
    change_folder("clean", partial, [&] { fs::remove_all(partial); });
    return complete;
}

void prune_checkpoints(const fs::path& checkpoints,
                       std::uint64_t step,
                       std::size_t keep) {
    change_folder("prune", checkpoints, [&] {
        for (const fs::path& path : list_folder(checkpoints)) {
            if (is_partial(path.filename().string())) {
                fs::remove_all(path);
            }
        }
        std::vector<fs::path> folders = list_complete(checkpoints);
        std::erase_if(folders, [&](const fs::path& folder) {
            return parse_step(folder.filename().string()) > step;
        });
        for (std::size_t i = keep; i < folders.size(); ++i) {
            remove_complete(folders[i]);
        }
    });
}

std::optional<fs::path> find_latest_checkpoint(const fs::path& checkpoints) {
    std::vector<fs::path> folders;
    change_folder(
        "list", checkpoints, [&] { folders = list_complete(checkpoints); });
    return folders.empty() ? std::nullopt : std::optional(folders.front());
}

}  // namespace fusionllm
