// Archives that are damaged in many ways: a sentence or a model, never a crash.
// (The sanitizers of the asan build see what does not crash.)

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "fusionllm/importers/import.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "numbers.hpp"
#include "zip_writer.hpp"

namespace fusionllm::test {
namespace {

struct Outcome {
    int imported = 0;
    int refused = 0;
};

void import_all(const std::string& bytes, Outcome& outcome) {
    const TemporaryFile file("fusionllm_fuzz_test.pt2", bytes);
    try {
        const ImportedModel model = import_pt2(file.path());
        for (const std::string& name : model.weights.names()) {
            model.weights.load(name);
        }
        ++outcome.imported;
    } catch (const InputError& error) {
        EXPECT_GT(std::string(error.what()).size(), 20);
        ++outcome.refused;
    }
}

std::string read_archive(const std::string& name) {
    return read_file(FUSIONLLM_ARCHIVES "/" + name + ".pt2");
}

//! The archive taken apart, so that its parts can be changed and their
//! checksums made right again.
ZipContents contents_of(const std::string& name) {
    const ZipArchive archive(FUSIONLLM_ARCHIVES "/" + name + ".pt2");
    ZipContents contents;
    for (const auto& [entry, place] : archive.entries()) {
        contents.emplace_back("m/" + entry, archive.read(entry));
    }
    return contents;
}

std::string change_bytes(std::string bytes, Numbers& numbers) {
    const std::uint32_t count = 1 + numbers.below(4);
    for (std::uint32_t i = 0; i < count && !bytes.empty(); ++i) {
        bytes[numbers.below(bytes.size())] =
            static_cast<char>(numbers.below(256));
    }
    return bytes;
}

//! Put another JSON value where one begins.
std::string change_json(std::string text, Numbers& numbers) {
    constexpr std::array<const char*, 12> values = {"null",
                                                    "[]",
                                                    "{}",
                                                    "-1",
                                                    "9223372036854775807",
                                                    "1e308",
                                                    "\"\"",
                                                    "true",
                                                    "[[[[[]]]]]",
                                                    "{\"as_int\": 1}",
                                                    "18446744073709551615",
                                                    "-Infinity"};
    const std::size_t from = text.find(": ", numbers.below(text.size()));
    if (from == std::string::npos) {
        return text;
    }
    const std::size_t begin = from + 2;
    const std::size_t end = text.find_first_of(",}]", begin);
    const bool is_nested = text[begin] == '{' || text[begin] == '[';
    return text.replace(begin,
                        is_nested || end == std::string::npos ? 1 : end - begin,
                        values[numbers.below(values.size())]);
}

TEST(Fuzz, archives_with_changed_bytes_give_a_sentence) {
    Numbers numbers(1);
    Outcome outcome;

    for (const char* name : {"mlp", "mlp_layout2", "gpt"}) {
        const std::string bytes = read_archive(name);
        for (int i = 0; i < 300; ++i) {
            import_all(change_bytes(bytes, numbers), outcome);
        }
    }

    EXPECT_GT(outcome.refused, 300);
}

TEST(Fuzz, truncated_archives_give_a_sentence) {
    Numbers numbers(2);
    Outcome outcome;

    for (const char* name : {"recurrent", "recurrent_layout2"}) {
        const std::string bytes = read_archive(name);
        for (int i = 0; i < 150; ++i) {
            import_all(bytes.substr(0, numbers.below(bytes.size())), outcome);
        }
    }

    EXPECT_EQ(outcome.imported, 0);
}

TEST(Fuzz, parts_changed_under_right_checksums_give_a_sentence) {
    Numbers numbers(3);
    Outcome outcome;

    for (const char* name : {"mlp", "mlp_layout2", "conv_net_layout2"}) {
        const ZipContents whole = contents_of(name);
        for (int i = 0; i < 400; ++i) {
            ZipContents contents = whole;
            auto& [entry, bytes] = contents[numbers.below(contents.size())];
            bytes = change_bytes(bytes, numbers);
            import_all(make_zip(contents), outcome);
        }
    }

    EXPECT_GT(outcome.refused, 100);
}

TEST(Fuzz, wrong_json_gives_a_sentence) {
    Numbers numbers(4);
    Outcome outcome;

    for (const char* name : {"mlp", "mlp_layout2", "two_inputs"}) {
        const ZipContents whole = contents_of(name);
        for (int i = 0; i < 500; ++i) {
            ZipContents contents = whole;
            for (auto& [entry, bytes] : contents) {
                if (entry.ends_with(".json")) {
                    bytes = change_json(bytes, numbers);
                }
            }
            import_all(make_zip(contents), outcome);
        }
    }

    EXPECT_GT(outcome.refused, 500);
}

//! A state dict inside, whose pickle is changed under a right checksum.
TEST(Fuzz, changed_pickles_give_a_sentence) {
    Numbers numbers(5);
    Outcome outcome;
    const ZipContents whole = contents_of("mlp");
    const ZipArchive archive(FUSIONLLM_ARCHIVES "/mlp.pt2");
    const ZipArchive inner = archive.open_inner("serialized_state_dict.pt");
    ZipContents tensors;
    for (const auto& [entry, place] : inner.entries()) {
        tensors.emplace_back("archive/" + entry, inner.read(entry));
    }

    for (int i = 0; i < 1500; ++i) {
        ZipContents changed = tensors;
        for (auto& [entry, bytes] : changed) {
            if (entry == "archive/data.pkl") {
                bytes = change_bytes(bytes, numbers);
            }
        }
        ZipContents contents = whole;
        for (auto& [entry, bytes] : contents) {
            if (entry == "m/serialized_state_dict.pt") {
                bytes = make_zip(changed);
            }
        }
        import_all(make_zip(contents), outcome);
    }

    EXPECT_GT(outcome.refused, 500);
}

}  // namespace
}  // namespace fusionllm::test
