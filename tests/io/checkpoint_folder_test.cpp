#include <algorithm>

#include <gtest/gtest.h>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "finish_checkpoint.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

CheckpointManifest example_manifest(std::uint64_t step) {
    CheckpointManifest manifest;
    manifest.step = step;
    manifest.seed = 0xffffffffffffffffull;
    manifest.graph_hash = 0x8000000000000001ull;
    manifest.data_hash = 5;
    manifest.samples = (1ull << 53) + 1;
    manifest.micro_batches = 7;
    manifest.save_id = 0xfedcba9876543210ull;
    manifest.optimizer = "adamw";
    manifest.plan = "stage 0\n\"quoted\"";
    manifest.input = "[run]\nname = \"é\"\n";
    manifest.versions = {{"fusionllm", "0.1.0"}};
    manifest.tensors = {{"/parameters/a", "group-0.h5"}};
    return manifest;
}

void make_checkpoint(const fs::path& checkpoints, std::uint64_t step) {
    begin_checkpoint(checkpoints, step);
    finish_checkpoint(checkpoints, example_manifest(step));
}

//! A text with the first `from` replaced by `to`.
std::string replaced(std::string text,
                     const std::string& from,
                     const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
}

TEST(Manifest, round_trips_with_64_bit_numbers) {
    const CheckpointManifest manifest = example_manifest(7);

    const auto parsed = parse_manifest(to_json(manifest), "manifest.json");

    EXPECT_EQ(parsed, manifest);
}

TEST(Manifest, says_which_key_is_missing_in_which_file) {
    const std::string json =
        replaced(to_json(example_manifest(7)), "\"graph_hash\"", "\"other\"");

    const auto message = message_of<InputError>(
        [&] { parse_manifest(json, "runs/step-7/manifest.json"); });

    EXPECT_EQ(message,
              "the manifest 'runs/step-7/manifest.json' has no key "
              "'graph_hash'; the checkpoint cannot be used, take another one");
}

TEST(Manifest, refuses_values_of_another_type) {
    const std::string json = to_json(example_manifest(7));
    const struct {
        std::string from, to, expected;
    } cases[] = {
        {"\"step\": 7",
         "\"step\": \"7\"",
         "the manifest 'm.json' is damaged: 'step' is \"7\", not a whole "
         "number"},
        {"\"step\": 7",
         "\"step\": -7",
         "the manifest 'm.json' is damaged: 'step' is -7, not a whole number"},
        {"0x8000000000000001",
         "8000000000000001",
         "the manifest 'm.json' is damaged: 'graph_hash' is "
         "\"8000000000000001\", not a text like \"0x0123456789abcdef\""},
        {"0x8000000000000001",
         "0x80000000000000010",
         "the manifest 'm.json' is damaged: 'graph_hash' is "
         "\"0x80000000000000010\", not a text like \"0x0123456789abcdef\""},
        {"\"0.1.0\"",
         "1",
         "the manifest 'm.json' is damaged: 'versions' is {\"fusionllm\":1}, "
         "not an object of texts"},
        {"\"version\": 1",
         "\"version\": 9",
         "the manifest 'm.json' has version 9, but this program reads version "
         "1; use the program that wrote it"},
    };

    for (const auto& [from, to, expected] : cases) {
        EXPECT_EQ(message_of<InputError>([&] {
                      parse_manifest(replaced(json, from, to), "m.json");
                  }),
                  expected);
    }
}

TEST(Manifest, refuses_text_that_is_no_manifest) {
    for (const std::string text : {"", "{", "[]", "{}", "{\"step\": 1}"}) {
        const auto message = message_of<InputError>(
            [&] { parse_manifest(text, "runs/manifest.json"); });
        EXPECT_NE(message.find("'runs/manifest.json'"), std::string::npos)
            << text;
    }
}

TEST(CheckpointFolder, is_empty_when_begun_again) {
    const TemporaryFolder folder;
    const fs::path partial = begin_checkpoint(folder.path() / "new", 3);
    write_file(partial / "left_over", "x");

    const fs::path again = begin_checkpoint(folder.path() / "new", 3);

    EXPECT_EQ(again, folder.path() / "new/step-3.partial");
    EXPECT_TRUE(fs::is_empty(again));
}

TEST(CheckpointFolder, has_its_final_name_only_when_committed) {
    const TemporaryFolder folder;
    begin_checkpoint(folder.path(), 3);
    EXPECT_EQ(find_latest_checkpoint(folder.path()), std::nullopt);

    const auto committed =
        finish_checkpoint(folder.path(), example_manifest(3));

    EXPECT_EQ(committed, folder.path() / "step-3");
    EXPECT_EQ(find_latest_checkpoint(folder.path()), committed);
    EXPECT_FALSE(fs::exists(folder.path() / "step-3.partial"));
    const fs::path manifest = committed / "manifest.json";
    EXPECT_EQ(parse_manifest(read_file(manifest), manifest),
              example_manifest(3));
}

TEST(CheckpointFolder, replaces_one_of_the_same_step) {
    const TemporaryFolder folder;
    write_file(begin_checkpoint(folder.path(), 3) / "old", "old");
    finish_checkpoint(folder.path(), example_manifest(3));
    write_file(begin_checkpoint(folder.path(), 3) / "new", "new");

    const auto committed =
        finish_checkpoint(folder.path(), example_manifest(3));

    EXPECT_TRUE(fs::exists(committed / "new"));
    EXPECT_FALSE(fs::exists(committed / "old"));
    EXPECT_FALSE(fs::exists(folder.path() / "step-3.partial"));
}

TEST(CheckpointFolder, latest_is_the_largest_number_of_a_complete_one) {
    const TemporaryFolder folder;
    make_checkpoint(folder.path(), 9);
    make_checkpoint(folder.path(), 10);
    begin_checkpoint(folder.path(), 11);
    for (const char* name : {"step-99x", "step-", "step--1", "other-100"}) {
        fs::create_directory(folder.path() / name);
    }
    write_file(folder.path() / "step-50", "a file");

    const auto latest = find_latest_checkpoint(folder.path());

    EXPECT_EQ(latest, folder.path() / "step-10");
}

TEST(CheckpointFolder, latest_of_no_folder_is_none) {
    EXPECT_EQ(find_latest_checkpoint("/no/such/folder"), std::nullopt);
}

TEST(CheckpointFolder, pruning_keeps_the_newest_and_what_is_not_ours) {
    const TemporaryFolder folder;
    for (const std::uint64_t step : {2, 9, 10, 100}) {
        make_checkpoint(folder.path(), step);
    }
    begin_checkpoint(folder.path(), 200);
    fs::create_directory(folder.path() / "notes");

    prune_checkpoints(folder.path(), 100, 2);

    std::vector<std::string> left;
    for (const auto& entry : fs::directory_iterator(folder.path())) {
        left.push_back(entry.path().filename());
    }
    std::sort(left.begin(), left.end());
    EXPECT_EQ(left, (std::vector<std::string>{"notes", "step-10", "step-100"}));
}

TEST(CheckpointFolder, pruning_leaves_later_steps_of_another_run_alone) {
    const TemporaryFolder folder;
    for (const std::uint64_t step : {2, 4, 8}) {
        make_checkpoint(folder.path(), step);
    }

    prune_checkpoints(folder.path(), 4, 1);

    EXPECT_FALSE(fs::exists(folder.path() / "step-2"));
    EXPECT_TRUE(fs::exists(folder.path() / "step-4"));
    EXPECT_TRUE(fs::exists(folder.path() / "step-8"));
}

TEST(CheckpointFolder, that_cannot_be_made_is_named) {
    const TemporaryFolder folder;
    write_file(folder.path() / "file", "x");

    const auto message = message_of<Error>(
        [&] { begin_checkpoint(folder.path() / "file/inside", 1); });

    EXPECT_NE(message.find((folder.path() / "file/inside/step-1.partial")),
              std::string::npos)
        << message;
    EXPECT_NE(message.find("Not a directory"), std::string::npos) << message;
}

}  // namespace
}  // namespace fusionllm::test
