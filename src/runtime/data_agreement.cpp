#include "data_agreement.hpp"

#include <cstring>
#include <optional>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t facts_slot = 4;
constexpr std::uint32_t verdict_slot = 5;
constexpr std::uint32_t error_slot = 6;

std::string to_bytes(const DataFacts& facts) {
    return {reinterpret_cast<const char*>(&facts), sizeof facts};
}

DataFacts from_bytes(const std::string& bytes) {
    DataFacts facts;
    if (bytes.size() != sizeof facts) {
        throw Error(
            "ranks disagree on the form of control messages; run the "
            "same program everywhere");
    }
    std::memcpy(&facts, bytes.data(), sizeof facts);
    return facts;
}

}  // namespace

DataFacts facts_of(const DatasetSplit& data) {
    DataFacts facts;
    facts.has_data = 1;
    facts.hash = data.train->content_hash();
    facts.train_size = data.train->size();
    if (data.validation) {
        const std::uint64_t validation_hash = data.validation->content_hash();
        facts.hash = hash_bytes(std::as_bytes(std::span(&validation_hash, 1)),
                                facts.hash);
        facts.validation_size = data.validation->size();
    }
    return facts;
}

DataFacts agree_on_data(Transport& transport, const DataFacts& mine) {
    const auto all = gather(transport, root, facts_slot, to_bytes(mine));
    DataFacts agreed;
    std::string problem;
    std::optional<int> first;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
        const DataFacts facts = from_bytes(all[rank]);
        if (facts.has_data == 0) {
            continue;
        }
        if (!first) {
            first = static_cast<int>(rank);
            agreed = facts;
        } else if (facts.hash != agreed.hash && problem.empty()) {
            problem = fmt::format(
                "ranks {} and {} read different data (content hash {:016x} and "
                "{:016x}); give every site the same files under [data] path",
                *first,
                rank,
                agreed.hash,
                facts.hash);
        }
    }
    agreed =
        from_bytes(broadcast(transport, root, verdict_slot, to_bytes(agreed)));
    problem = broadcast(transport, root, error_slot, problem);
    if (!problem.empty()) {
        throw InputError(problem);
    }
    return agreed;
}

}  // namespace fusionllm
