#include "app/output_folder.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>

#include <unistd.h>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

#include "app/json_text.hpp"

namespace fs = std::filesystem;

namespace fusionllm {
namespace {

constexpr std::array run_files{"input.toml",
                               "plan.txt",
                               "metrics.jsonl",
                               "fences.jsonl",
                               "checkpoints",
                               "traces"};

//! The folder itself, or what it will be made in.
fs::path nearest_existing(fs::path path) {
    std::error_code error;  // below a file there is nothing
    while (!fs::exists(path, error) && path.has_relative_path()) {
        path = path.parent_path();
    }
    return path;
}

}  // namespace

OutputFolder::OutputFolder(fs::path folder, Existing existing)
    : folder_(std::move(folder)), existing_(existing) {
    FUSIONLLM_VALIDATE(
        !fs::exists(folder_) || fs::is_directory(folder_),
        "the output '{}' is a file; give a folder by [run] output or --output",
        folder_.string());
    const fs::path parent = nearest_existing(fs::absolute(folder_));
    FUSIONLLM_VALIDATE(
        fs::is_directory(parent) && access(parent.c_str(), W_OK | X_OK) == 0,
        "the output folder '{}' cannot be written: '{}' is {}; give another by "
        "[run] output or --output",
        folder_.string(),
        parent.string(),
        fs::is_directory(parent) ? "not yours to write in" : "a file");
    const bool has_content = fs::exists(folder_) && !fs::is_empty(folder_);
    FUSIONLLM_VALIDATE(
        !has_content || existing_ != Existing::refuse,
        "the output folder '{}' is not empty; go on with --resume, start anew "
        "with --overwrite, or give another by [run] output or --output",
        folder_.string());
    if (has_content && existing_ == Existing::overwrite) {
        for (const auto& entry : fs::directory_iterator(folder_)) {
            const std::string name = entry.path().filename().string();
            FUSIONLLM_VALIDATE(
                std::ranges::find(run_files, name) != run_files.end(),
                "the output folder '{}' holds '{}', which no run of ours "
                "writes, so --overwrite leaves it alone; give another folder",
                folder_.string(),
                name);
        }
    }
}

std::optional<fs::path> OutputFolder::checkpoint_to_resume() const {
    if (existing_ != Existing::resume) {
        return std::nullopt;
    }
    return find_latest_checkpoint(checkpoints());
}

void OutputFolder::prepare(std::int64_t step,
                           const std::string& input,
                           const std::string& plan) {
    try {
        fs::create_directories(folder_);
        if (existing_ == Existing::overwrite) {
            for (const char* name : run_files) {
                fs::remove_all(folder_ / name);
            }
        }
        fs::create_directories(checkpoints());
        drop_lines_after(metrics_file(), step);
        // A change at this step comes after the checkpoint.
        drop_lines_after(fences_file(), step - 1);
        write_file(folder_ / "input.toml", input);
        write_file(folder_ / "plan.txt", plan);
    } catch (const fs::filesystem_error& error) {
        throw InputError(
            fmt::format("the output folder '{}' cannot be written: {}; give "
                        "another by [run] output or --output",
                        folder_.string(),
                        error.code().message()));
    }
}

void OutputFolder::drop_lines_after(const fs::path& path, std::int64_t step) {
    if (!fs::exists(path)) {
        return;
    }
    std::string kept;
    for (const std::string& line : split(read_file(path), '\n')) {
        const auto line_step = step_of_metrics(line);
        // A line cut short by a crash is after every checkpoint.
        if (line_step && *line_step <= step) {
            kept += line + "\n";
        }
    }
    write_file(path, kept);
}

double OutputFolder::emulated_s_after(std::int64_t step) const {
    double seconds = 0;
    if (!fs::exists(metrics_file())) {
        return seconds;
    }
    for (const std::string& line : split(read_file(metrics_file()), '\n')) {
        const auto line_step = step_of_metrics(line);
        if (line_step && *line_step <= step) {
            seconds = emulated_s_of_metrics(line).value_or(seconds);
        }
    }
    return seconds;
}

void OutputFolder::add_line(const fs::path& path, const std::string& line) {
    std::ofstream file(path, std::ios::app);
    file << line << '\n';
    file.flush();
    if (!file) {
        throw Error(fmt::format(
            "cannot write '{}' (is the disk full?); the run can go on with "
            "--resume from its last checkpoint",
            path.string()));
    }
}

void OutputFolder::write_metrics(const std::string& line) {
    add_line(metrics_file(), line);
}

void OutputFolder::write_fences(const std::string& line) {
    add_line(fences_file(), line);
}

}  // namespace fusionllm
