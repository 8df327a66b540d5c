#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/data/token_files.hpp"

#include "app/output_folder.hpp"

namespace fusionllm {

//! What every command that reads an input takes.
struct InputArguments {
    std::filesystem::path file;
    std::vector<std::string> overrides;  //!< "section.key=value"
};

//! `fusionllm train`
struct TrainArguments {
    InputArguments input;
    Existing existing = Existing::refuse;
    std::filesystem::path plan;    //!< empty: the input's, or a new one
    std::filesystem::path output;  //!< empty: the input's
};

//! `fusionllm plan` and `fusionllm simulate`
struct PlanArguments {
    InputArguments input;
    std::optional<int> num_ranks;
    std::filesystem::path plan;  //!< empty: the input's, or a new one
    bool is_json = false;
    std::filesystem::path svg;    //!< of plan: write a picture here
    std::filesystem::path trace;  //!< of simulate: write a timeline here
};

//! `fusionllm generate`
struct GenerateArguments {
    std::filesystem::path checkpoint;  //!< step-N, or a run's output folder
    std::string prompt;
    std::int64_t tokens = 200;
    double temperature = 0.8;
    std::uint64_t seed = 1;
    int threads = 1;
    std::string codec = "on";  //!< "off": without the fences of the training
};

//! `fusionllm calibrate`
struct CalibrateArguments {
    InputArguments input;  //!< file: may be empty, then built-in sizes
    std::filesystem::path output;
    int repeats = 10;
};

//! `fusionllm probe`
struct ProbeArguments {
    InputArguments input;  //!< file: may be empty, then every host is a site
    std::filesystem::path output;
};

//! `fusionllm tokenize`
struct TokenizeArguments {
    std::vector<std::filesystem::path> texts;  //!< files or folders
    std::filesystem::path output;
    std::string tokenizer = "gpt2";  //!< or "bytes", "sentencepiece"
    std::filesystem::path vocabulary_file;
    std::filesystem::path merges_file;
    std::filesystem::path sentencepiece_file;
    TextEnd end = TextEnd::nothing;
};

//! `fusionllm import`
struct ImportArguments {
    std::filesystem::path model;
    std::filesystem::path output;
};

//! `fusionllm export`
struct ExportArguments {
    std::filesystem::path checkpoint;  //!< step-N, or a run's output folder
    std::filesystem::path output;
    std::string format = "safetensors";  //!< or "h5"
    std::filesystem::path model;         //!< empty: the file that [model] named
};

// Each returns the exit status, or throws: `InputError` means status 2.

//! Collective over the ranks that mpirun started, or one rank without it.
int run_train(int& argc, char**& argv, const TrainArguments& arguments);
//! The same.
int run_probe(int& argc, char**& argv, const ProbeArguments& arguments);
int run_plan(const PlanArguments& arguments);
int run_simulate(const PlanArguments& arguments);
int run_validate(const InputArguments& arguments);
int run_generate(const GenerateArguments& arguments);
int run_calibrate(const CalibrateArguments& arguments);
int run_tokenize(const TokenizeArguments& arguments);
int run_import(const ImportArguments& arguments);
int run_export(const ExportArguments& arguments);

}  // namespace fusionllm
