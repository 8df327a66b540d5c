#include <cstdio>

#include "fusionllm/data/token_files.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/output_file.hpp"

#include "app/commands/commands.hpp"
#include "app/load_data.hpp"

namespace fusionllm {

int run_tokenize(const TokenizeArguments& arguments) {
    FUSIONLLM_VALIDATE(
        arguments.tokenizer != "gpt2" || (!arguments.vocabulary_file.empty() &&
                                          !arguments.merges_file.empty()),
        "the tokenizer \"gpt2\" needs its files; give "
        "--vocabulary-file encoder.json and --merges-file "
        "vocab.bpe, or --tokenizer bytes");
    FUSIONLLM_VALIDATE(arguments.tokenizer != "sentencepiece" ||
                           !arguments.sentencepiece_file.empty(),
                       "the tokenizer \"sentencepiece\" needs its model; give "
                       "--sentencepiece-file FILE.model");
    check_output_file(arguments.output,
                      {arguments.vocabulary_file,
                       arguments.merges_file,
                       arguments.sentencepiece_file});
    DataSection data;
    data.tokenizer = arguments.tokenizer;
    data.vocabulary_file = arguments.vocabulary_file;
    data.merges_file = arguments.merges_file;
    data.sentencepiece_file = arguments.sentencepiece_file;
    const TokenizedText done = tokenize_files(arguments.texts,
                                              *load_tokenizer(data),
                                              arguments.end,
                                              arguments.output);
    std::printf("%s: %llu tokens of %zu files, %.2f bytes a token\n",
                arguments.output.c_str(),
                static_cast<unsigned long long>(done.num_tokens),
                done.num_files,
                done.num_tokens == 0
                    ? 0.0
                    : static_cast<double>(done.num_bytes) /
                          static_cast<double>(done.num_tokens));
    return 0;
}

}  // namespace fusionllm
