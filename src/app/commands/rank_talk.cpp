#include "app/commands/rank_talk.hpp"

#include <algorithm>
#include <charconv>

#include "fusionllm/exec/threads.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/wire/message_header.hpp"

#include "app/json_text.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr const char* load_question = "load";
constexpr const char* calls_question = "calls";
constexpr const char* end_question = "end";

//! {2, 6, 0} of "2.6.0+cu124".
std::vector<int> numbers_of(const std::string& version) {
    std::vector<int> numbers;
    for (const std::string& part : split(version, '.')) {
        int number = 0;
        std::from_chars(part.data(), part.data() + part.size(), number);
        numbers.push_back(number);
    }
    return numbers;
}

std::string pack_calls(const std::vector<OperatorCall>& calls) {
    std::vector<std::string> texts;
    for (const OperatorCall& call : calls) {
        texts.push_back(pack_texts({call.target,
                                    call.overload,
                                    std::to_string(call.num_arguments),
                                    std::to_string(call.num_absent)}));
    }
    return pack_texts(texts);
}

std::vector<OperatorCall> unpack_calls(const std::string& packed) {
    std::vector<OperatorCall> calls;
    for (const std::string& text : unpack_texts(packed)) {
        const auto fields = unpack_texts(text);
        calls.push_back({fields.at(0),
                         fields.at(1),
                         std::stoul(fields.at(2)),
                         std::stoul(fields.at(3))});
    }
    return calls;
}

//! Status, what is wrong, the model.
std::string load_for_others(const std::string& input) {
    try {
        return pack_texts({"0",
                           "",
                           to_text(load_model(
                               parse_run_input(input, "rank 0's input", {})))});
    } catch (const InputError& error) {
        return pack_texts({"2", error.what(), ""});
    } catch (const std::exception& error) {
        return pack_texts({"1", error.what(), ""});
    }
}

}  // namespace

ProgramVersions own_versions() {
    return {
        FUSIONLLM_VERSION, wire_version, libtorch_version(), operators_hash()};
}

std::string to_text(const ProgramVersions& versions) {
    return pack_texts({versions.fusionllm,
                       std::to_string(versions.wire),
                       versions.libtorch,
                       std::to_string(versions.operators)});
}

ProgramVersions parse_program_versions(const std::string& text) {
    const auto texts = unpack_texts(text);
    return {texts.at(0),
            std::stoull(texts.at(1)),
            texts.at(2),
            std::stoull(texts.at(3))};
}

void check_versions(const std::vector<ProgramVersions>& of_rank) {
    const ProgramVersions& first = of_rank.front();
    for (std::size_t rank = 1; rank < of_rank.size(); ++rank) {
        const ProgramVersions& other = of_rank[rank];
        FUSIONLLM_VALIDATE(
            other.fusionllm == first.fusionllm && other.wire == first.wire,
            "rank {} is fusionllm {} with messages of version {}, rank 0 is "
            "fusionllm {} with version {}; start programs built from the same "
            "fusionllm (their LibTorch may differ)",
            rank,
            other.fusionllm,
            other.wire,
            first.fusionllm,
            first.wire);
    }
}

std::size_t find_newest(const std::vector<ProgramVersions>& of_rank) {
    return static_cast<std::size_t>(
        std::ranges::max_element(of_rank,
                                 {},
                                 [](const ProgramVersions& versions) {
                                     return numbers_of(versions.libtorch);
                                 }) -
        of_rank.begin());
}

RankTalk::RankTalk(const mpi::Communicator& world,
                   std::vector<ProgramVersions> of_rank)
    : world_(world), versions_(std::move(of_rank)) {}

bool RankTalk::is_uniform() const {
    return std::ranges::all_of(versions_, [&](const auto& versions) {
        return versions == versions_.front();
    });
}

std::vector<std::string> RankTalk::send(const std::string& question,
                                        const std::string& text) const {
    mpi::all_gather_strings(world_, pack_texts({question, text}));
    return mpi::all_gather_strings(world_, "");
}

ModelSource RankTalk::load(const RunInput& input) const {
    const std::size_t newest = find_newest(versions_);
    if (!is_model_file(input.model_kind) || newest == root) {
        return load_model(input);
    }
    const auto texts =
        unpack_texts(send(load_question, to_toml(input)).at(newest));
    if (texts.at(0) == "2") {
        throw InputError(texts.at(1));
    }
    if (texts.at(0) != "0") {
        throw Error(texts.at(1));
    }
    return parse_model_source(texts.at(2));
}

std::vector<std::vector<std::string>> RankTalk::ask(
    const std::vector<OperatorCall>& calls) const {
    const auto own = ask_this_program(calls).front();
    std::vector<std::vector<std::string>> answers(versions_.size(), own);
    if (is_uniform()) {
        return answers;
    }
    const auto packed = send(calls_question, pack_calls(calls));
    for (std::size_t rank = 1; rank < packed.size(); ++rank) {
        answers[rank] = unpack_texts(packed[rank]);
    }
    return answers;
}

void RankTalk::end() const {
    if (!is_uniform()) {
        mpi::all_gather_strings(world_, pack_texts({end_question, ""}));
    }
}

void RankTalk::answer() const {
    while (!is_uniform()) {
        const auto question =
            unpack_texts(mpi::all_gather_strings(world_, "").at(root));
        std::string answer;
        if (question.at(0) == end_question) {
            return;
        }
        if (question.at(0) == calls_question) {
            answer = pack_texts(
                ask_this_program(unpack_calls(question.at(1))).front());
        } else if (find_newest(versions_) ==
                   static_cast<std::size_t>(world_.rank())) {
            answer = load_for_others(question.at(1));
        }
        mpi::all_gather_strings(world_, answer);
    }
}

}  // namespace fusionllm
