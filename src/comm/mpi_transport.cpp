#include "fusionllm/comm/mpi_transport.hpp"

#include <algorithm>
#include <climits>
#include <map>
#include <set>
#include <utility>

#include "fusionllm/util/error.hpp"

#include "channel_check.hpp"
#include "mpi_link.hpp"
#include "self_transport.hpp"

namespace fusionllm {
namespace {

using detail::MpiLink;
using mpi::Communicator;

constexpr std::size_t largest_block_bytes = std::size_t{1} << 30;
//! Below the eager limits over TCP: 64 KiB of Open MPI's ob1, less than 32 KiB
//! of UCX.
constexpr std::size_t eager_piece_bytes = std::size_t{8} << 10;

void check_tags(const Communicator& world) {
    int* tag_upper_bound = nullptr;
    int has_bound = 0;
    FUSIONLLM_MPI_CALL(MPI_Comm_get_attr(
        world.get(), MPI_TAG_UB, &tag_upper_bound, &has_bound));
    FUSIONLLM_VALIDATE(
        has_bound != 0 && *tag_upper_bound >= detail::largest_tag,
        "this MPI library has message tags up to {} only, and {} are needed; "
        "choose another transport of MPI, e.g. mpirun --mca pml ob1",
        has_bound != 0 ? *tag_upper_bound : 0,
        detail::largest_tag);
}

//! Throws `InputError`; looks only at what all ranks have in common.
void check_layout(const GroupLayout& layout, int num_ranks) {
    const auto& groups = layout.group_of_rank;
    FUSIONLLM_VALIDATE(
        std::cmp_equal(groups.size(), num_ranks),
        "the plan puts {} ranks into groups, but the run has {} ranks; start "
        "as many ranks as the plan has devices",
        groups.size(),
        num_ranks);
    for (std::size_t rank = 0; rank < groups.size(); ++rank) {
        FUSIONLLM_VALIDATE(groups[rank] >= 0,
                           "rank {} is in group {}; groups count from 0",
                           rank,
                           groups[rank]);
    }
    const std::set<int> known(groups.begin(), groups.end());
    for (const auto& [a, b] : layout.group_pairs) {
        FUSIONLLM_VALIDATE(
            a < b && known.contains(a) && known.contains(b),
            "groups {} and {} cannot be joined: a pair names two groups that "
            "have ranks, the smaller one first",
            a,
            b);
    }
}

}  // namespace

struct MpiTransport::State {
    State(const Communicator& world, GroupLayout given, MessageParts cut)
        : layout(std::move(given)),
          rank(world.rank()),
          size(world.size()),
          parts(cut),
          self(detail::make_self_transport(rank, size)),
          group(
              std::make_shared<MpiLink>(world.split(layout.group_of_rank[rank]),
                                        rank,
                                        MessageParts{parts.block_bytes, 0})) {
        connect(world);
    }

    void connect(const Communicator& world) {
        const auto& groups = layout.group_of_rank;
        // The same order everywhere: otherwise two pairs wait for each other.
        const std::set<std::pair<int, int>> pairs(layout.group_pairs.begin(),
                                                  layout.group_pairs.end());
        int tag = 0;
        for (const auto& [a, b] : pairs) {
            const int own = groups[rank];
            if (own == a || own == b) {
                const int other = own == a ? b : a;
                const auto leader = static_cast<int>(
                    std::ranges::find(groups, other) - groups.begin());
                links.emplace(
                    other,
                    std::make_shared<MpiLink>(
                        group->communicator().connect(world, leader, tag),
                        rank,
                        parts));
            }
            ++tag;
        }
    }

    //! What leads to the peer.
    MpiLink& route(int peer, Channel channel) const {
        detail::check_address(peer, size, channel);
        return route(peer);
    }

    MpiLink& route(int peer) const {
        const int own = layout.group_of_rank[rank];
        const int other = layout.group_of_rank[peer];
        if (own == other) {
            return *group;
        }
        const auto link = links.find(other);
        if (link == links.end()) {
            throw Error(fmt::format(
                "rank {} of group {} cannot reach rank {} of group {}: the "
                "groups are not joined; add the pair ({}, {}) to the layout",
                rank,
                own,
                peer,
                other,
                std::min(own, other),
                std::max(own, other)));
        }
        return *link->second;
    }

    //! Ranks keep their order inside their group.
    detail::Peer peer(int rank_of_peer) const {
        const auto& groups = layout.group_of_rank;
        const auto begin = groups.begin();
        const auto num_before =
            std::count(begin, begin + rank_of_peer, groups[rank_of_peer]);
        return {static_cast<int>(num_before), rank_of_peer};
    }

    GroupLayout layout;
    int rank;
    int size;
    MessageParts parts;
    std::unique_ptr<Transport> self;
    std::shared_ptr<MpiLink> group;
    std::map<int, std::shared_ptr<MpiLink>> links;  //!< by the other group
};

MpiTransport::MpiTransport(const Communicator& world, GroupLayout layout)
    : MpiTransport(
          world, std::move(layout), {largest_block_bytes, eager_piece_bytes}) {}

MpiTransport::MpiTransport(const Communicator& world,
                           GroupLayout layout,
                           MessageParts parts) {
    FUSIONLLM_EXPECTS(parts.block_bytes > 0 && parts.block_bytes <= INT_MAX);
    check_tags(world);
    check_layout(layout, world.size());
    state_ = std::make_unique<State>(world, std::move(layout), parts);
}

MpiTransport::~MpiTransport() = default;

int MpiTransport::rank() const {
    return state_->rank;
}

int MpiTransport::size() const {
    return state_->size;
}

Request MpiTransport::send(int destination, Channel channel, Buffer message) {
    if (destination == state_->rank) {
        return state_->self->send(destination, channel, std::move(message));
    }
    MpiLink& link = state_->route(destination, channel);
    return link.send(state_->peer(destination), channel, std::move(message));
}

Request MpiTransport::receive(int source,
                              Channel channel,
                              std::size_t max_bytes) {
    if (source == state_->rank) {
        return state_->self->receive(source, channel, max_bytes);
    }
    MpiLink& link = state_->route(source, channel);
    return link.receive(state_->peer(source), channel, max_bytes);
}

std::uint64_t MpiTransport::received_bytes(int source) const {
    return source == state_->rank
               ? state_->self->received_bytes(source)
               : state_->route(source).received_bytes(state_->peer(source));
}

const Communicator& MpiTransport::group() const {
    return state_->group->communicator();
}

}  // namespace fusionllm
