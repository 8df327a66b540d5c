#include "fusionllm/comm/mpi_transport.hpp"

#include <algorithm>
#include <climits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "fusionllm/util/error.hpp"

#include "byte_type.hpp"
#include "channel_check.hpp"
#include "self_transport.hpp"

namespace fusionllm {
namespace {

using detail::ByteType;
using mpi::Communicator;

constexpr std::size_t largest_block_bytes = std::size_t{1} << 30;

//! Tag of all messages of a channel: the kind above the slot.
int tag_of(Channel channel) {
    const auto kind = static_cast<std::uint32_t>(channel.kind);
    return static_cast<int>(kind * detail::num_slots + channel.slot);
}

constexpr int largest_tag =
    static_cast<int>(num_message_kinds * detail::num_slots) - 1;

void check_tags(const Communicator& world) {
    int* tag_upper_bound = nullptr;
    int has_bound = 0;
    FUSIONLLM_MPI_CALL(MPI_Comm_get_attr(
        world.get(), MPI_TAG_UB, &tag_upper_bound, &has_bound));
    FUSIONLLM_VALIDATE(
        has_bound != 0 && *tag_upper_bound >= largest_tag,
        "this MPI library has message tags up to {} only, and {} are needed; "
        "choose another transport of MPI, e.g. mpirun --mca pml ob1",
        has_bound != 0 ? *tag_upper_bound : 0,
        largest_tag);
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

//! What an error has to name.
struct Address {
    int rank;
    int peer;
    Channel channel;
};

//! The part that sends and receives share: an MPI request and its buffer.
class MpiOperation final : public detail::Operation {
public:
    static std::unique_ptr<MpiOperation> send(const Communicator& communicator,
                                              int remote_rank,
                                              const Address& address,
                                              Buffer message,
                                              std::size_t block_bytes) {
        auto self = std::make_unique<MpiOperation>(
            address, std::move(message), block_bytes);
        FUSIONLLM_MPI_CALL(MPI_Isend(self->buffer_.data(),
                                     self->type_.count(),
                                     self->type_.get(),
                                     remote_rank,
                                     tag_of(address.channel),
                                     communicator.get(),
                                     &self->request_));
        return self;
    }

    static std::unique_ptr<MpiOperation> receive(
        const Communicator& communicator,
        int remote_rank,
        const Address& address,
        std::size_t max_bytes,
        std::size_t block_bytes) {
        auto self = std::make_unique<MpiOperation>(
            address, Buffer(max_bytes), block_bytes);
        self->is_receive_ = true;
        FUSIONLLM_MPI_CALL(MPI_Irecv(self->buffer_.data(),
                                     self->type_.count(),
                                     self->type_.get(),
                                     remote_rank,
                                     tag_of(address.channel),
                                     communicator.get(),
                                     &self->request_));
        return self;
    }

    MpiOperation(const Address& address, Buffer buffer, std::size_t block_bytes)
        : address_(address),
          buffer_(std::move(buffer)),
          type_(buffer_.size(), block_bytes) {}

    bool test() override {
        if (failure_) {
            throw Error(*failure_);
        }
        if (request_ == MPI_REQUEST_NULL) {
            return true;
        }
        int is_done = 0;
        MPI_Status status{};
        const int code = MPI_Test(&request_, &is_done, &status);
        if (code != MPI_SUCCESS) {
            fail(code);
        }
        if (is_done != 0 && is_receive_) {
            buffer_.shrink(type_.received_bytes(status));
        }
        return is_done != 0;
    }

    Buffer take() override {
        FUSIONLLM_EXPECTS(request_ == MPI_REQUEST_NULL && !failure_);
        return is_receive_ ? std::move(buffer_) : Buffer();
    }

    void leak() override {
        if (request_ != MPI_REQUEST_NULL) {
            static_cast<void>(new Buffer(std::move(buffer_)));
        }
    }

private:
    [[noreturn]] void fail(int code) {
        int error_class = MPI_SUCCESS;
        MPI_Error_class(code, &error_class);
        if (error_class == MPI_ERR_TRUNCATE) {
            failure_ = fmt::format(
                "rank {} got a message from rank {} on {} that is longer than "
                "the {} bytes expected; check that both ranks have the same "
                "plan",
                address_.rank,
                address_.peer,
                detail::to_text(address_.channel),
                buffer_.size());
            // The message has come and is gone: nobody writes to the buffer.
            if (request_ != MPI_REQUEST_NULL) {
                MPI_Request_free(&request_);
            }
        } else {
            failure_ = fmt::format(
                "rank {} could not {} {} bytes {} rank {} on {}: {}; check "
                "that the rank is alive and the network is up",
                address_.rank,
                is_receive_ ? "receive" : "send",
                buffer_.size(),
                is_receive_ ? "from" : "to",
                address_.peer,
                detail::to_text(address_.channel),
                mpi::Error(code, "MPI_Test").what());
        }
        throw Error(*failure_);
    }

    Address address_;
    Buffer buffer_;
    ByteType type_;
    bool is_receive_ = false;
    MPI_Request request_ = MPI_REQUEST_NULL;
    std::optional<std::string> failure_;
};

}  // namespace

struct MpiTransport::State {
    State(const Communicator& world, GroupLayout given, std::size_t bytes)
        : layout(std::move(given)),
          rank(world.rank()),
          size(world.size()),
          block_bytes(bytes),
          self(detail::make_self_transport(rank, size)),
          group(world.split(layout.group_of_rank[rank])) {
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
                const auto leader = std::ranges::find(groups, other);
                const auto leader_rank =
                    static_cast<int>(leader - groups.begin());
                links.emplace(other, group.connect(world, leader_rank, tag));
            }
            ++tag;
        }
    }

    //! The communicator that leads to the peer.
    const Communicator& route(int peer, Channel channel) const {
        detail::check_address(peer, size, channel);
        const int own = layout.group_of_rank[rank];
        const int other = layout.group_of_rank[peer];
        if (own == other) {
            return group;
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
        return link->second;
    }

    //! The peer's rank inside its group: ranks keep their order there.
    int rank_in_group(int peer) const {
        const auto& groups = layout.group_of_rank;
        return static_cast<int>(
            std::count(groups.begin(), groups.begin() + peer, groups[peer]));
    }

    GroupLayout layout;
    int rank;
    int size;
    std::size_t block_bytes;
    std::unique_ptr<Transport> self;
    Communicator group;
    std::map<int, Communicator> links;  //!< by the other group
};

MpiTransport::MpiTransport(const Communicator& world, GroupLayout layout)
    : MpiTransport(world, std::move(layout), largest_block_bytes) {}

MpiTransport::MpiTransport(const Communicator& world,
                           GroupLayout layout,
                           std::size_t block_bytes) {
    FUSIONLLM_EXPECTS(block_bytes > 0 && block_bytes <= INT_MAX);
    check_tags(world);
    check_layout(layout, world.size());
    state_ = std::make_unique<State>(world, std::move(layout), block_bytes);
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
    const Communicator& communicator = state_->route(destination, channel);
    return Request(MpiOperation::send(communicator,
                                      state_->rank_in_group(destination),
                                      {state_->rank, destination, channel},
                                      std::move(message),
                                      state_->block_bytes));
}

Request MpiTransport::receive(int source,
                              Channel channel,
                              std::size_t max_bytes) {
    if (source == state_->rank) {
        return state_->self->receive(source, channel, max_bytes);
    }
    const Communicator& communicator = state_->route(source, channel);
    return Request(MpiOperation::receive(communicator,
                                         state_->rank_in_group(source),
                                         {state_->rank, source, channel},
                                         max_bytes,
                                         state_->block_bytes));
}

const Communicator& MpiTransport::group() const {
    return state_->group;
}

}  // namespace fusionllm
