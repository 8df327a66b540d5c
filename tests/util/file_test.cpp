#include "fusionllm/util/file.hpp"

#include <csignal>
#include <fstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusionllm/util/error.hpp"

#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

//! While it lives, no file may get longer; writes fail with EFBIG.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t num_bytes) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{num_bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        handler_ = std::signal(SIGXFSZ, SIG_IGN);
    }
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }

private:
    rlimit before_{};
    void (*handler_)(int);
};

class FileTest : public testing::Test {
protected:
    std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator(folder_.path())) {
            found.push_back(entry.path().filename().string());
        }
        return found;
    }

    TemporaryFolder folder_;
    fs::path file_ = folder_.path() / "plan.toml";
};

TEST_F(FileTest, reads_back_every_byte) {
    std::string text = "a\n\r\n";
    text.push_back('\0');
    text += std::string(100000, '\xFF');

    write_file(file_, text);

    EXPECT_EQ(read_file(file_), text);
    EXPECT_THAT(names(), testing::ElementsAre("plan.toml"));
}

TEST_F(FileTest, reads_an_empty_file_and_one_that_tells_no_size) {
    write_file(file_, "");

    EXPECT_EQ(read_file(file_), "");
    EXPECT_THAT(read_file("/proc/self/status"), testing::StartsWith("Name:"));
}

TEST_F(FileTest, reads_a_part) {
    write_file(file_, "0123456789");
    std::string part(4, ' ');

    read_file_part(file_, 3, std::as_writable_bytes(std::span(part)));

    EXPECT_EQ(part, "3456");
}

TEST_F(FileTest, a_part_beyond_the_end_is_refused) {
    write_file(file_, "0123456789");
    std::string part(4, ' ');

    try {
        read_file_part(file_, 7, std::as_writable_bytes(std::span(part)));
        FAIL() << "was read";
    } catch (const InputError& error) {
        EXPECT_THAT(error.what(),
                    testing::HasSubstr("ends after 10 bytes, but 11"));
    }
}

TEST_F(FileTest, a_missing_file_is_named_with_the_reason) {
    try {
        read_file(file_);
        FAIL() << "was read";
    } catch (const InputError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr(file_.string()));
        EXPECT_THAT(error.what(), testing::HasSubstr("No such file"));
    }
}

TEST_F(FileTest, a_folder_is_not_read_as_a_file) {
    EXPECT_THROW(read_file(folder_.path()), InputError);
}

TEST_F(FileTest, writing_replaces_and_keeps_the_mode) {
    write_file(file_, "a long first text");
    ::chmod(file_.c_str(), 0600);

    write_file(file_, "short");

    EXPECT_EQ(read_file(file_), "short");
    EXPECT_EQ(fs::status(file_).permissions(), fs::perms{0600});
}

TEST_F(FileTest, a_disk_that_is_full_leaves_the_old_file_and_nothing_else) {
    write_file(file_, "old");

    {
        const FileSizeLimit limit(10);
        EXPECT_THROW(write_file(file_, std::string(100, 'n')), Error);
    }

    EXPECT_EQ(read_file(file_), "old");
    EXPECT_THAT(names(), testing::ElementsAre("plan.toml"));
}

TEST_F(FileTest, a_folder_that_is_missing_is_an_input_error) {
    EXPECT_THROW(write_file(folder_.path() / "none" / "x", "a"), InputError);
    EXPECT_THROW(write_file(folder_.path(), "a"), InputError);
    EXPECT_THAT(names(), testing::IsEmpty());
}

TEST_F(FileTest, a_link_stays_a_link) {
    write_file(file_, "old");
    const fs::path link = folder_.path() / "latest";
    fs::create_symlink("plan.toml", link);

    write_file(link, "new");

    EXPECT_TRUE(fs::is_symlink(link));
    EXPECT_EQ(read_file(file_), "new");
}

TEST_F(FileTest, a_device_is_written_and_not_replaced) {
    write_file("/dev/null", "gone");

    EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(FileTest, syncing_what_is_missing_is_an_error) {
    EXPECT_NO_THROW(sync_path(folder_.path()));
    EXPECT_THROW(sync_path(file_), Error);
}

}  // namespace
}  // namespace fusionllm::test
