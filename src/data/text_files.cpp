#include "text_files.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

namespace fusionllm::detail {
namespace {

namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) {
    return path.filename().native().starts_with('.');
}

bool is_binary(const TextFile& file) {
    std::array<std::byte, 8192> storage;
    const auto head = std::span(storage).first(
        std::min<std::uint64_t>(file.num_bytes, storage.size()));
    read_file_part(file.path, 0, head);
    return std::find(head.begin(), head.end(), std::byte{0}) != head.end();
}

std::vector<fs::path> walk(const fs::path& folder) {
    std::vector<std::pair<std::string, fs::path>> found;
    fs::recursive_directory_iterator entry(folder);
    for (; entry != fs::recursive_directory_iterator(); ++entry) {
        if (is_hidden(entry->path())) {
            entry.disable_recursion_pending();
        } else if (entry->is_regular_file()) {
            found.emplace_back(
                entry->path().lexically_relative(folder).generic_string(),
                entry->path());
        }
    }
    std::sort(found.begin(), found.end());
    std::vector<fs::path> files;
    for (auto& [relative, path] : found) {
        files.push_back(std::move(path));
    }
    return files;
}

std::vector<TextFile> find_in_folder(const fs::path& folder) {
    std::vector<TextFile> texts;
    for (const fs::path& path : walk(folder)) {
        const TextFile file{path, fs::file_size(path)};
        if (!is_binary(file)) {
            texts.push_back(file);
        }
    }
    FUSIONLLM_VALIDATE(!texts.empty(),
                       "there is no text in the folder '{}' (hidden files and "
                       "files with zero bytes do not count); name a folder "
                       "that has text files",
                       folder.string());
    return texts;
}

std::vector<TextFile> find_in(const fs::path& path) {
    FUSIONLLM_VALIDATE(fs::exists(path),
                       "there is no file or folder '{}' to read text from; "
                       "check the path",
                       path.string());
    if (fs::is_directory(path)) {
        return find_in_folder(path);
    }
    FUSIONLLM_VALIDATE(fs::is_regular_file(path),
                       "'{}' is neither a file nor a folder, so its text "
                       "cannot be read again; name one that is",
                       path.string());
    const TextFile file{path, fs::file_size(path)};
    FUSIONLLM_VALIDATE(!is_binary(file),
                       "'{}' is not text: it has a zero byte near its begin; "
                       "name a text file (UTF-8 is taken, UTF-16 is not)",
                       path.string());
    return {file};
}

}  // namespace

std::vector<TextFile> find_text_files(const std::vector<fs::path>& paths) {
    FUSIONLLM_VALIDATE(!paths.empty(),
                       "no path to a text is given; name at least one file or "
                       "folder");
    std::vector<TextFile> files;
    std::set<fs::path> seen;
    for (const fs::path& path : paths) {
        try {
            for (const TextFile& file : find_in(path)) {
                if (seen.insert(fs::canonical(file.path)).second) {
                    files.push_back(file);
                }
            }
        } catch (const fs::filesystem_error& error) {
            throw InputError(
                fmt::format("cannot look for text in '{}': {}; check that it "
                            "may be read",
                            path.string(),
                            error.code().message()));
        }
    }
    return files;
}

}  // namespace fusionllm::detail
