#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "temporary_folder.hpp"

namespace fusionllm::test {

//! Files of a byte-level vocabulary: "encoder.json" and "vocab.bpe".
struct VocabularyFiles {
    std::filesystem::path vocabulary;
    std::filesystem::path merges;
};

//! How the files write a byte: printable ones as they are, others from U+0100
//! on, in UTF-8.
inline std::string written_byte(int byte) {
    int code = byte;
    if (byte <= 32) {
        code = 256 + byte;
    } else if (byte >= 127 && byte <= 160) {
        code = 256 + 33 + byte - 127;
    } else if (byte == 173) {
        code = 256 + 67;
    }
    if (code < 128) {
        return {static_cast<char>(code)};
    }
    return {static_cast<char>(0xc0 | code >> 6),
            static_cast<char>(0x80 | (code & 0x3f))};
}

/*!
 * Token b for byte b, 256 + i for merge i ("t h": a pair of pieces as the files
 * write them), and "<|endoftext|>" last.
 */
inline VocabularyFiles write_vocabulary(
    const TemporaryFolder& folder, const std::vector<std::string>& merges) {
    std::string json = "{";
    int token = 0;
    const auto add = [&](const std::string& piece) {
        const std::string escape =
            piece == "\"" || piece == "\\" ? "\\" : std::string();
        json += (token == 0 ? "\"" : ", \"") + escape + piece +
                "\": " + std::to_string(token);
        ++token;
    };
    for (int byte = 0; byte < 256; ++byte) {
        add(written_byte(byte));
    }
    std::string lines = "#version: 0.2\n";
    for (const std::string& merge : merges) {
        const auto space = merge.find(' ');
        add(merge.substr(0, space) + merge.substr(space + 1));
        lines += merge + "\n";
    }
    add("<|endoftext|>");
    return {folder.write("encoder.json", json + "}"),
            folder.write("vocab.bpe", lines)};
}

}  // namespace fusionllm::test
