#include "fusionllm/importers/zip_archive.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "zip_writer.hpp"

namespace fusionllm::test {
namespace {

std::string error_of(const std::string& bytes) {
    const TemporaryFile file("fusionllm_zip_test.zip", bytes);
    try {
        const ZipArchive archive(file.path());
        for (const auto& [name, entry] : archive.entries()) {
            archive.read(name);
        }
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

TEST(ZipArchive, entries_are_read_without_their_common_folder) {
    const TemporaryFile file(
        "fusionllm_zip_test.zip",
        make_zip({{"net/a", "first"}, {"net/data/0", "second"}}));

    const ZipArchive archive(file.path());

    EXPECT_EQ(archive.entries().size(), 2);
    EXPECT_EQ(archive.read("a"), "first");
    EXPECT_EQ(archive.read("data/0"), "second");
}

TEST(ZipArchive, entry_is_found_at_its_place_in_the_file) {
    const std::string bytes = make_zip({{"a", "first"}, {"b", "second"}});
    const TemporaryFile file("fusionllm_zip_test.zip", bytes);

    const ZipEntry entry = ZipArchive(file.path()).find("b");

    EXPECT_EQ(bytes.substr(entry.offset, entry.size), "second");
}

TEST(ZipArchive, archive_inside_an_archive_is_read_in_place) {
    const TemporaryFile file(
        "fusionllm_zip_test.zip",
        make_zip({{"x", "1"}, {"in.pt", make_zip({{"in/a", "deep"}})}}));

    const ZipArchive inner = ZipArchive(file.path()).open_inner("in.pt");

    EXPECT_EQ(inner.read("a"), "deep");
}

TEST(ZipArchive, checksum_is_that_of_zip_files) {
    EXPECT_EQ(crc32("123456789"), 0xCBF43926);
    EXPECT_EQ(crc32(""), 0);
}

TEST(ZipArchive, changed_entry_is_refused) {
    std::string bytes = make_zip({{"a", "first"}});
    bytes[bytes.find("first")] = 'F';

    EXPECT_THAT(error_of(bytes), testing::HasSubstr("checksum"));
}

TEST(ZipArchive, name_that_leads_out_of_the_folder_is_refused) {
    for (const char* name : {"../a", "/etc/a", "x/../../a", "x\\a", "x/.."}) {
        EXPECT_THAT(error_of(make_zip({{name, "1"}})),
                    testing::HasSubstr("plain path"))
            << name;
    }
}

TEST(ZipArchive, two_entries_of_one_name_are_refused) {
    EXPECT_THAT(error_of(make_zip({{"a", "1"}, {"a", "2"}})),
                testing::HasSubstr("two entries"));
}

TEST(ZipArchive, every_truncation_is_refused) {
    const std::string bytes = make_zip({{"a", "first"}, {"b", "second"}});

    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_NE(error_of(bytes.substr(0, size)), "") << size;
    }
    EXPECT_EQ(error_of(bytes), "");
}

TEST(ZipArchive, enormous_sizes_are_refused) {
    std::string bytes = make_zip({{"a", "first"}});
    const std::size_t directory = bytes.find("PK\x01\x02");
    for (const std::size_t field : {20, 24, 42}) {
        bytes.replace(directory + field, 4, "\xf0\xff\xff\xff");
    }

    EXPECT_THAT(error_of(bytes), testing::HasSubstr("ends before"));
}

TEST(ZipArchive, missing_file_is_named) {
    try {
        const ZipArchive archive("no/such.pt2");
        FAIL();
    } catch (const InputError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("no/such.pt2"));
    }
}

}  // namespace
}  // namespace fusionllm::test
