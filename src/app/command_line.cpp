#include "app/command_line.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "app/commands/commands.hpp"
#include "app/run_input.hpp"
#include "app/versions.hpp"

namespace fusionllm {
namespace {

constexpr int failed_status = 1;
constexpr int bad_input_status = 2;
constexpr int max_num_ranks = 1000000;

void add_overrides(CLI::App& command, InputArguments& arguments) {
    command
        .add_option("--set",
                    arguments.overrides,
                    "change a key, e.g. --set train.steps=10; repeatable")
        ->allow_extra_args(false)
        ->type_name("SECTION.KEY=VALUE");
}

void add_input(CLI::App& command, InputArguments& arguments) {
    command.add_option("INPUT", arguments.file, "input file (TOML)")
        ->required();
    add_overrides(command, arguments);
}

//! The commands and what they parsed; `run` is the chosen one.
struct CommandLine {
    CLI::App app{
        "Train one neural network on devices that are far apart.\n\n"
        "  mpirun -np 4 fusionllm INPUT.toml    the same as: fusionllm train\n",
        "fusionllm"};
    TrainArguments train;
    PlanArguments plan;
    InputArguments validate;
    GenerateArguments generate;
    CalibrateArguments calibrate;
    ProbeArguments probe;
    TokenizeArguments tokenize;
    ImportArguments import_model;
    ExportArguments export_model;
    int np = 0;
    std::function<int(int&, char**&)> run;

    //! A command without MPI: once, also where a launcher starts it as ranks.
    template <class Command>
    void run_once(Command command) {
        run = [command](int&, char**&) {
            return mpi::is_first_rank() ? command() : 0;
        };
    }

    CommandLine() {
        app.set_help_flag("-h,--help", "print this, or a command's, help");
        app.require_subcommand(0, 1);
        app.add_flag_callback(
            "--version",
            [] {
                for (const auto& [name, version] : list_versions()) {
                    std::printf("%-10s %s\n", name.c_str(), version.c_str());
                }
                throw CLI::Success();
            },
            "print the versions of the program and its libraries");
        app.add_flag_callback(
            "--dump-default",
            [] {
                std::printf("%s", to_toml(RunInput()).c_str());
                throw CLI::Success();
            },
            "print an input file with every key and its default");
        add_train();
        add_plan();
        add_simulate();
        add_generate();
        add_calibrate();
        add_probe();
        add_tokenize();
        add_import();
        add_export();
        CLI::App* command = app.add_subcommand(
            "validate",
            "check an input file and its model and data; run nothing");
        add_input(*command, validate);
        command->callback(
            [this] { run_once([this] { return run_validate(validate); }); });
    }

    void add_train() {
        CLI::App* command = app.add_subcommand(
            "train", "train a network; start it by mpirun for several ranks");
        add_input(*command, train.input);
        auto* resume = command->add_flag_callback(
            "--resume",
            [this] { train.existing = Existing::resume; },
            "go on from the newest checkpoint of the output folder, if any");
        command
            ->add_flag_callback(
                "--overwrite",
                [this] { train.existing = Existing::overwrite; },
                "remove what an earlier run left in the output folder")
            ->excludes(resume);
        command->add_option("--plan", train.plan, "use the plan in this file")
            ->type_name("FILE");
        command
            ->add_option("--output", train.output, "write the run's files here")
            ->type_name("DIR");
        command->callback([this] {
            run = [this](int& argc, char**& argv) {
                return run_train(argc, argv, train);
            };
        });
    }

    //! What `plan` and `simulate` share.
    CLI::App* add_planning(const std::string& name,
                           const std::string& what,
                           int (*command_function)(const PlanArguments&)) {
        CLI::App* command = app.add_subcommand(name, what);
        add_input(*command, plan.input);
        command
            ->add_option("--np",
                         np,
                         "number of ranks (default: the devices of "
                         "[topology], or 1)")
            ->check(CLI::Range(1, max_num_ranks));
        command->add_option("--plan", plan.plan, "take the plan in this file")
            ->type_name("FILE");
        command->add_flag("--json", plan.is_json, "print JSON");
        command->callback([this, command_function] {
            if (np > 0) {
                plan.num_ranks = np;
            }
            run_once(
                [this, command_function] { return command_function(plan); });
        });
        return command;
    }

    void add_plan() {
        add_planning("plan",
                     "say which device runs what, how long a step takes and "
                     "why; run nothing",
                     run_plan)
            ->add_option("--svg", plan.svg, "draw the plan into this file")
            ->type_name("FILE");
    }

    void add_simulate() {
        add_planning("simulate",
                     "tell what every device and link does over a step",
                     run_simulate)
            ->add_option(
                "--trace", plan.trace, "write the timeline for ui.perfetto.dev")
            ->type_name("FILE");
    }

    void add_generate() {
        CLI::App* command = app.add_subcommand(
            "generate", "continue a text with a trained model, on one rank");
        command
            ->add_option("CHECKPOINT",
                         generate.checkpoint,
                         "OUTPUT/checkpoints/step-N, or OUTPUT for its newest")
            ->required();
        command->add_option("--prompt", generate.prompt, "text to continue");
        command->add_option("--tokens", generate.tokens, "how many to add")
            ->capture_default_str();
        command
            ->add_option("--temperature",
                         generate.temperature,
                         "0: always the likeliest; 1: as the model has it")
            ->capture_default_str();
        command->add_option("--seed", generate.seed, "of the draws")
            ->capture_default_str();
        command
            ->add_option("--codec",
                         generate.codec,
                         "\"on\": through the fences of the training; \"off\"")
            ->check(CLI::IsMember({"on", "off"}))
            ->capture_default_str();
        command->callback(
            [this] { run_once([this] { return run_generate(generate); }); });
    }

    void add_calibrate() {
        CLI::App* command = app.add_subcommand(
            "calibrate", "measure the ops of a model on this device");
        command->add_option("INPUT",
                            calibrate.input.file,
                            "input file (TOML); without it, some sizes of "
                            "GPT-2");
        add_overrides(*command, calibrate.input);
        command
            ->add_option(
                "-o,--output", calibrate.output, "write the device file here")
            ->required()
            ->type_name("FILE");
        command->add_option("--repeat", calibrate.repeats, "times each op runs")
            ->capture_default_str();
        command->callback(
            [this] { run_once([this] { return run_calibrate(calibrate); }); });
    }

    void add_probe() {
        CLI::App* command = app.add_subcommand(
            "probe",
            "measure the links between sites; start it by mpirun, one rank "
            "or more at each");
        command->add_option("INPUT",
                            probe.input.file,
                            "input file (TOML) whose [topology] names the "
                            "sites; without it, every host is one");
        add_overrides(*command, probe.input);
        command
            ->add_option(
                "-o,--output", probe.output, "write the topology file here")
            ->required()
            ->type_name("FILE");
        command->callback([this] {
            run = [this](int& argc, char**& argv) {
                return run_probe(argc, argv, probe);
            };
        });
    }

    void add_tokenize() {
        CLI::App* command = app.add_subcommand(
            "tokenize", "turn texts into a file of tokens, to train on");
        command->add_option("TEXT", tokenize.texts, "text files or folders")
            ->required();
        command
            ->add_option(
                "-o,--output", tokenize.output, "write the tokens here")
            ->required()
            ->type_name("FILE");
        command
            ->add_option("--tokenizer",
                         tokenize.tokenizer,
                         "gpt2, sentencepiece or bytes")
            ->check(CLI::IsMember({"gpt2", "sentencepiece", "bytes"}))
            ->capture_default_str();
        command
            ->add_option("--vocabulary-file",
                         tokenize.vocabulary_file,
                         "of gpt2: its encoder.json")
            ->type_name("FILE");
        command
            ->add_option(
                "--merges-file", tokenize.merges_file, "of gpt2: its vocab.bpe")
            ->type_name("FILE");
        command
            ->add_option("--sentencepiece-file",
                         tokenize.sentencepiece_file,
                         "of sentencepiece: its .model")
            ->type_name("FILE");
        command->add_flag_callback(
            "--end-of-text",
            [this] { tokenize.end = TextEnd::end_of_text; },
            "put the token of a text's end behind every file");
        command->callback(
            [this] { run_once([this] { return run_tokenize(tokenize); }); });
    }

    void add_import() {
        CLI::App* command = app.add_subcommand(
            "import", "turn a model of PyTorch into a model file");
        command
            ->add_option("MODEL", import_model.model, "what PyTorch exported")
            ->required();
        command
            ->add_option("-o,--output",
                         import_model.output,
                         "write the model file here (.h5)")
            ->required()
            ->type_name("FILE");
        command->callback(
            [this] { run_once([this] { return run_import(import_model); }); });
    }

    void add_export() {
        CLI::App* command = app.add_subcommand(
            "export", "write the weights of a checkpoint for PyTorch");
        command
            ->add_option("CHECKPOINT",
                         export_model.checkpoint,
                         "OUTPUT/checkpoints/step-N, or OUTPUT for its newest")
            ->required();
        command
            ->add_option("-o,--output", export_model.output, "write them here")
            ->required()
            ->type_name("FILE");
        command
            ->add_option("--format", export_model.format, "safetensors or h5")
            ->check(CLI::IsMember({"safetensors", "h5"}))
            ->capture_default_str();
        command
            ->add_option("--model",
                         export_model.model,
                         "the file that the run had in [model] path, if it "
                         "is elsewhere now")
            ->type_name("FILE");
        command->callback(
            [this] { run_once([this] { return run_export(export_model); }); });
    }
};

//! `fusionllm INPUT.toml ...` is `fusionllm train INPUT.toml ...`.
std::vector<std::string> with_command(const CLI::App& app,
                                      int argc,
                                      char** argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    std::vector<std::string> commands;
    for (const CLI::App* command : app.get_subcommands({})) {
        commands.push_back(command->get_name());
    }
    const auto is_command = [&](const std::string& word) {
        return std::ranges::find(commands, word) != commands.end();
    };
    const bool is_option =
        !words.empty() && words.front().starts_with("-") &&
        (words.front() == "-h" || words.front() == "--help" ||
         words.front() == "--version" || words.front() == "--dump-default");
    if (!words.empty() && !is_command(words.front()) && !is_option) {
        const std::string& word = words.front();
        FUSIONLLM_VALIDATE(
            word.starts_with("-") || word.find('.') != std::string::npos ||
                std::filesystem::exists(word) || !mpi::is_first_rank(),
            "'{}' is neither a command nor an input file{}; see fusionllm "
            "--help",
            word,
            did_you_mean(word, commands));
        words.insert(words.begin(), "train");
    }
    return words;
}

int fail(const std::string& message, int status) {
    if (mpi::is_first_rank()) {
        std::fprintf(stderr, "fusionllm: %s\n", message.c_str());
    }
    return status;
}

/*!
 * For what every rank finds alike, before there is MPI. Only the first rank
 * fails: a launcher that sees one fail ends the others, and could do so before
 * the first has spoken.
 */
int refuse_command_line(const std::string& message) {
    return fail(message, mpi::is_first_rank() ? bad_input_status : 0);
}

}  // namespace

int run_command_line(int argc, char** argv) {
    CommandLine command_line;
    try {
        auto words = with_command(command_line.app, argc, argv);
        std::reverse(words.begin(), words.end());  // as CLI11 wants them
        command_line.app.parse(words);
    } catch (const InputError& error) {
        return refuse_command_line(error.what());
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            return command_line.app.exit(error);  // prints the help
        }
        return refuse_command_line(
            fmt::format("{}; see fusionllm --help", error.what()));
    }
    try {
        if (!command_line.run) {
            std::printf("%s", command_line.app.help().c_str());
            return 0;
        }
        return command_line.run(argc, argv);
    } catch (const InputError& error) {
        return fail(error.what(), bad_input_status);
    } catch (const std::exception& error) {
        return fail(error.what(), failed_status);
    }
}

}  // namespace fusionllm
