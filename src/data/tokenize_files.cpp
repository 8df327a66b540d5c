#include <cerrno>
#include <fstream>
#include <system_error>

#include "fusionllm/data/token_files.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/output_file.hpp"

#include "file_bytes.hpp"
#include "text_files.hpp"
#include "token_header.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

//! A token file beside its place, which it takes when it is complete.
class TokenFileWriter {
public:
    TokenFileWriter(fs::path file, std::size_t vocabulary)
        : file_(std::move(file)),
          temporary_(file_.string() + ".tmp"),
          width_(vocabulary - 1 <= 0xffff ? 2 : 4),
          out_(temporary_, std::ios::binary) {
        FUSIONLLM_VALIDATE(out_.good(),
                           "cannot write '{}': {}; check that its folder "
                           "exists and that you may write in it",
                           file_.string(),
                           std::generic_category().message(errno));
        write_header();
    }
    TokenFileWriter(const TokenFileWriter&) = delete;
    TokenFileWriter& operator=(const TokenFileWriter&) = delete;
    ~TokenFileWriter() {
        std::error_code ignored;
        fs::remove(temporary_, ignored);
    }

    std::uint64_t num_tokens() const { return num_tokens_; }

    void append(std::span<const Token> tokens) {
        num_tokens_ += tokens.size();
        FUSIONLLM_VALIDATE(num_tokens_ <= detail::most_tokens_of_file,
                           "the texts have more than {} tokens, the most that "
                           "the header of '{}' can count; write several files "
                           "and name them all under [data] path",
                           detail::most_tokens_of_file,
                           file_.string());
        bytes_.clear();
        for (const Token token : tokens) {
            bytes_.append(reinterpret_cast<const char*>(&token), width_);
        }
        write(bytes_);
    }

    void finish() {
        out_.seekp(0);
        write_header();
        out_.close();
        check();
        sync_path(temporary_);
        fs::rename(temporary_, file_);
    }

private:
    void write_header() {
        const auto header = detail::make_token_header(width_, num_tokens_);
        write({reinterpret_cast<const char*>(header.data()), sizeof header});
    }
    void write(std::string_view bytes) {
        out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        check();
    }
    void check() const {
        if (!out_.good()) {
            throw Error(fmt::format("cannot write '{}': {}",
                                    file_.string(),
                                    std::generic_category().message(errno)));
        }
    }

    fs::path file_;
    fs::path temporary_;
    std::size_t width_;
    std::ofstream out_;
    std::string bytes_;
    std::uint64_t num_tokens_ = 0;
};

}  // namespace

TokenizedText tokenize_files(const std::vector<fs::path>& paths,
                             const Tokenizer& tokenizer,
                             TextEnd end,
                             const fs::path& output) {
    const auto end_of_text = tokenizer.end_of_text();
    FUSIONLLM_VALIDATE(end == TextEnd::nothing || end_of_text.has_value(),
                       "this tokenizer has no token for the end of a text; "
                       "leave it out, or take a vocabulary with "
                       "\"<|endoftext|>\"");
    const auto files = detail::find_text_files(paths);
    for (const detail::TextFile& file : files) {
        check_output_file(output, {file.path});
    }
    TokenFileWriter writer(output, tokenizer.vocabulary());
    TokenizedText done;
    for (const detail::TextFile& file : files) {
        const detail::FileBytes text(file.path);
        tokenizer.encode(text.text(), [&](std::span<const Token> tokens) {
            writer.append(tokens);
        });
        if (end == TextEnd::end_of_text) {
            writer.append(std::span(&*end_of_text, 1));
        }
        ++done.num_files;
        done.num_bytes += text.bytes().size();
    }
    writer.finish();
    done.num_tokens = writer.num_tokens();
    return done;
}

}  // namespace fusionllm
