#include "fusionllm/data/k_hop.hpp"

#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "token_sample.hpp"

namespace fusionllm {
namespace {

constexpr std::int64_t ignored_label = -100;  // of aten::cross_entropy_loss
constexpr std::int64_t most_symbols = 4096;   // 16 million different pairs

//! The random numbers of one sample, in order.
class Draws {
public:
    Draws(std::uint64_t key, std::uint32_t sample)
        : key_(make_philox_key(key)), sample_(sample) {}

    //! At least 0, below `limit`.
    std::size_t below(std::size_t limit) {
        if (next_ == 4) {
            block_ = philox({{number_++, sample_, 0, 0}}, key_);
            next_ = 0;
        }
        return (std::uint64_t{block_.words[next_++]} * limit) >> 32;
    }

    //! At least 0, below 1.
    double fraction() {
        constexpr double steps = 1 << 24;
        return static_cast<double>(below(1 << 24)) / steps;
    }

    void shuffle(std::vector<std::size_t>& items) {
        for (std::size_t i = items.size(); i > 1; --i) {
            std::swap(items[i - 1], items[below(i)]);
        }
    }

private:
    PhiloxKey key_;
    std::uint32_t sample_;
    std::uint32_t number_ = 0;
    PhiloxBlock block_{};
    int next_ = 4;
};

//! 0 to `count - 1` in random order.
std::vector<std::size_t> random_order(std::size_t count, Draws& draws) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    draws.shuffle(order);
    return order;
}

HostTensor to_tensor(const std::vector<std::int64_t>& tokens) {
    const TensorType type{DType::i64,
                          {static_cast<std::int64_t>(tokens.size())}};
    HostTensor tensor{type, std::vector<std::byte>(num_bytes(type))};
    std::memcpy(tensor.bytes.data(), tokens.data(), tensor.bytes.size());
    return tensor;
}

//! Numbers `begin` to `begin + size - 1` of the samples of a seed.
class KHopDataset final : public Dataset {
public:
    KHopDataset(std::uint64_t seed,
                std::size_t context,
                const KHopOptions& options,
                std::size_t begin,
                std::size_t size)
        : key_(derive_key(seed, "k_hop")),
          context_(context),
          symbols_(static_cast<std::size_t>(options.symbols)),
          hops_(static_cast<std::size_t>(options.hops)),
          noise_(options.label_noise),
          begin_(begin),
          size_(size) {}

    std::size_t size() const override { return size_; }

    std::vector<HostTensor> get(std::size_t index) const override {
        FUSIONLLM_EXPECTS(index < size_);
        const std::size_t S = symbols_;
        const std::size_t K = hops_;
        Draws draws(key_, static_cast<std::uint32_t>(begin_ + index));
        const std::vector<std::size_t> cycle = random_order(S, draws);
        std::vector<std::size_t> place(S);  // of a symbol in the cycle
        for (std::size_t i = 0; i < S; ++i) {
            place[cycle[i]] = i;
        }
        const auto after = [&](std::size_t symbol, std::size_t hops) {
            return cycle[(place[symbol] + hops) % S];
        };
        std::vector<std::int64_t> tokens;
        std::vector<std::int64_t> labels;
        const auto add = [&](std::size_t token, std::int64_t label) {
            tokens.push_back(static_cast<std::int64_t>(token));
            labels.push_back(label);
        };
        for (const std::size_t symbol : random_order(S, draws)) {
            add(S + symbol * S + after(symbol, 1), ignored_label);
        }
        while (tokens.size() < context_) {
            const std::size_t symbol = draws.below(S);
            const std::size_t hops = 1 + draws.below(K);
            const bool is_noise = noise_ > 0.0 && draws.fraction() < noise_;
            const std::size_t answer =
                is_noise ? draws.below(S) : after(symbol, hops);
            add(S + S * S + symbol * K + hops - 1,
                static_cast<std::int64_t>(answer));
        }
        return {to_tensor(tokens), to_tensor(labels)};
    }

    std::uint64_t content_hash() const override {
        std::uint64_t hash = derive_key(key_, symbols_);
        hash = derive_key(hash, hops_);
        if (noise_ > 0.0) {
            hash = derive_key(hash, std::bit_cast<std::uint64_t>(noise_));
        }
        return derive_key(derive_key(hash, begin_), size_);
    }

private:
    std::uint64_t key_;
    std::size_t context_;
    std::size_t symbols_;
    std::size_t hops_;
    double noise_;
    std::size_t begin_;
    std::size_t size_;
};

}  // namespace

std::int64_t k_hop_vocabulary(const KHopOptions& options) {
    return options.symbols * (1 + options.symbols + options.hops);
}

DatasetSplit make_k_hop_dataset(std::uint64_t seed,
                                std::size_t context,
                                const KHopOptions& options,
                                double validation_fraction) {
    detail::check_split(context, validation_fraction);
    FUSIONLLM_VALIDATE(
        options.symbols >= 3 && options.symbols <= most_symbols,
        "k_hop cannot be made of {} symbols; give at least 3 and at most {}",
        options.symbols,
        most_symbols);
    FUSIONLLM_VALIDATE(
        options.hops >= 1 && options.hops < options.symbols,
        "k_hop cannot ask for {} hops among {} symbols: so many lead "
        "back to the start; give at least 1 and at most {}",
        options.hops,
        options.symbols,
        options.symbols - 1);
    FUSIONLLM_VALIDATE(
        options.label_noise >= 0.0 && options.label_noise < 1.0,
        "a label noise of {} is no share of k_hop's answers; give at least 0 "
        "and less than 1",
        options.label_noise);
    FUSIONLLM_VALIDATE(
        context > static_cast<std::size_t>(options.symbols),
        "a context of {} tokens has no room for a question of k_hop after the "
        "pairs of its {} symbols; give a context of {} or more",
        context,
        options.symbols,
        2 * options.symbols);
    return detail::split_made_up_samples(
        validation_fraction, [&](std::size_t first, std::size_t count) {
            return std::make_shared<KHopDataset>(
                seed, context, options, first, count);
        });
}

}  // namespace fusionllm
