#include "fusionllm/util/file_beside.hpp"

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

std::size_t num_files(const fs::path& folder) {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder), {}));
}

void append(FileBeside& out, std::string_view text) {
    out.append(std::as_bytes(std::span(text)));
}

TEST(FileBeside, is_the_file_once_it_is_committed) {
    const TemporaryFolder folder;
    const fs::path file = folder.write("x", "old");
    FileBeside out(file);

    append(out, "new ");
    append(out, "text");
    EXPECT_EQ(read_file(file), "old");
    out.commit();

    EXPECT_EQ(read_file(file), "new text");
    EXPECT_EQ(num_files(folder.path()), 1u);
}

TEST(FileBeside, leaves_nothing_if_it_is_given_up) {
    const TemporaryFolder folder;
    const fs::path file = folder.write("x", "old");
    {
        FileBeside out(file);
        append(out, "half");
    }

    EXPECT_EQ(read_file(file), "old");
    EXPECT_EQ(num_files(folder.path()), 1u);
}

TEST(FileBeside, says_where_it_cannot_be) {
    EXPECT_THROW(FileBeside("/no/such/folder/x"), InputError);
}

TEST(Fingerprint, tells_files_apart_by_size_and_ends) {
    const TemporaryFolder folder;
    const std::string middle(std::size_t{3} << 20, 'm');
    const auto print = [&](const std::string& text) {
        return fingerprint_of(folder.write("x", text));
    };
    const std::uint64_t known = print("a" + middle + "z");

    EXPECT_EQ(print("a" + middle + "z"), known);
    EXPECT_NE(print("b" + middle + "z"), known);
    EXPECT_NE(print("a" + middle + "y"), known);
    EXPECT_NE(print("a" + middle + "mz"), known);
    EXPECT_NE(print(""), print("a"));
    // A hundredth of what is between the ends.
    std::string changed = middle;
    changed.replace(changed.size() / 2 - 5000, 10000, std::string(10000, 'n'));
    EXPECT_NE(print("a" + changed + "z"), known);
}

}  // namespace
}  // namespace fusionllm::test
