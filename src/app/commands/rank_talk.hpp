#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/comm/mpi.hpp"

#include "app/device_software.hpp"
#include "app/model.hpp"

namespace fusionllm {

//! What programs tell each other before anything else.
struct ProgramVersions {
    std::string fusionllm;
    std::uint64_t wire = 0;       //!< `wire_version`
    std::string libtorch;         //!< "1.13.1"
    std::uint64_t operators = 0;  //!< `operators_hash`

    friend bool operator==(const ProgramVersions&,
                           const ProgramVersions&) = default;
};

ProgramVersions own_versions();
std::string to_text(const ProgramVersions& versions);
ProgramVersions parse_program_versions(const std::string& text);

//! Throws `InputError` unless all of them can work together: one version of
//! this program, of messages too; LibTorch may be any.
void check_versions(const std::vector<ProgramVersions>& of_rank);

//! The first of the ranks with the newest LibTorch: it knows most operators.
std::size_t find_newest(const std::vector<ProgramVersions>& of_rank);

/*!
 * How rank 0 asks the others while it makes the briefing. Others answer until
 * it says that it has no more questions.
 *
 * Where all ranks have the same operators nothing is sent: rank 0 answers for
 * them.
 */
class RankTalk {
public:
    RankTalk(const mpi::Communicator& world,
             std::vector<ProgramVersions> of_rank);

    const std::vector<ProgramVersions>& versions() const { return versions_; }

    //! `load_model` of the input by the rank that knows most operators; throws
    //! what that throws.
    ModelSource load(const RunInput& input) const;

    //! See `AskRanks`.
    std::vector<std::vector<std::string>> ask(
        const std::vector<OperatorCall>& calls) const;

    //! Rank 0 ends the talk; others answer until then.
    void end() const;
    void answer() const;

private:
    bool is_uniform() const;
    std::vector<std::string> send(const std::string& question,
                                  const std::string& text) const;

    const mpi::Communicator& world_;
    std::vector<ProgramVersions> versions_;
};

}  // namespace fusionllm
