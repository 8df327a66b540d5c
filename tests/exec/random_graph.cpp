#include "random_graph.hpp"

#include <algorithm>
#include <random>
#include <string>

#include <fmt/format.h>

#include "fusionllm/graph/graph_builder.hpp"

namespace fusionllm::test {
namespace {

using Sizes = std::vector<std::int64_t>;

TensorType f32(Sizes sizes) {
    return {DType::f32, std::move(sizes)};
}

class Generator {
public:
    explicit Generator(std::uint64_t seed) : random_(seed), graph_("random") {}

    OpGraph make(int num_ops) {
        for (int i = 0; i < 2; ++i) {
            pool_.push_back(
                graph_.add_input(fmt::format("x{}", i), f32(sizes(3))));
        }
        keep(unary("aten::mul.Tensor", pool_[0], true));
        while (num_ops_ < num_ops) {
            add_any();
        }
        add_loss();
        return graph_.build();
    }

private:
    std::int64_t below(std::int64_t end) {
        return static_cast<std::int64_t>(random_() %
                                         static_cast<std::uint64_t>(end));
    }
    Sizes sizes(int rank) {
        constexpr std::int64_t choices[] = {1, 2, 3, 5, 17};
        Sizes result;
        for (int i = 0; i < rank; ++i) {
            result.push_back(choices[below(5)]);
        }
        return result;
    }
    std::string name(const std::string& stem) {
        ++num_ops_;
        return fmt::format("{}.{}", stem, num_ops_);
    }
    const Sizes& shape(ValueId value) { return graph_.type(value).sizes; }
    std::int64_t rank(ValueId value) {
        return static_cast<std::int64_t>(shape(value).size());
    }
    //! A value, one of the newest half the time, so that graphs get deep.
    ValueId pick() {
        const auto size = static_cast<std::int64_t>(pool_.size());
        const std::int64_t first =
            below(2) == 0 ? std::max<std::int64_t>(size - 3, 0) : 0;
        const ValueId value = pool_[first + below(size - first)];
        read_.push_back(value);
        return value;
    }
    ValueId parameter(Sizes sizes) {
        if (!parameters_.empty() && below(3) == 0) {
            for (const ValueId old : parameters_) {
                if (shape(old) == sizes) {
                    return old;
                }
            }
        }
        parameters_.push_back(
            graph_.add_parameter(fmt::format("p{}", parameters_.size()),
                                 f32(std::move(sizes)),
                                 {Initializer::Kind::uniform, 1.0}));
        return parameters_.back();
    }
    void keep(ValueId value) { pool_.push_back(value); }
    ValueId op(const std::string& target,
               std::vector<Argument> arguments,
               Sizes sizes) {
        return graph_.add_op(name(target.substr(target.find("::") + 2)),
                             target,
                             std::move(arguments),
                             f32(std::move(sizes)));
    }
    ValueId unary(const std::string& target, ValueId x, bool has_parameter) {
        std::vector<Argument> arguments{x};
        if (has_parameter) {
            arguments.emplace_back(parameter(shape(x)));
        }
        return op(target, std::move(arguments), shape(x));
    }

    void add_any() {
        using Add = void (Generator::*)();
        static constexpr Add all[] = {
            &Generator::add_unary,      &Generator::add_binary,
            &Generator::add_binary,     &Generator::add_parameter_op,
            &Generator::add_transpose,  &Generator::add_transpose,
            &Generator::add_permute,    &Generator::add_matmul,
            &Generator::add_matmul,     &Generator::add_gram,
            &Generator::add_sum,        &Generator::add_softmax,
            &Generator::add_expand,     &Generator::add_split,
            &Generator::add_select,     &Generator::add_cat,
            &Generator::add_reshape,    &Generator::add_mask,
            &Generator::add_lookup,     &Generator::add_dropout,
            &Generator::add_layer_norm, &Generator::add_contiguous,
            &Generator::add_spectrum};
        (this->*all[below(std::size(all))])();
    }

    void add_unary() {
        static const char* const targets[] = {
            "aten::tanh", "aten::sigmoid", "aten::relu", "aten::neg"};
        keep(unary(targets[below(4)], pick(), false));
    }
    void add_parameter_op() { keep(unary("aten::mul.Tensor", pick(), true)); }
    void add_binary() {
        static const char* const targets[] = {
            "aten::add.Tensor", "aten::mul.Tensor", "aten::maximum"};
        const ValueId a = pick();
        for (int attempt = 0; attempt < 8; ++attempt) {
            const ValueId b = pick();
            Sizes sizes = shape(a);
            bool fits = rank(a) == rank(b);
            for (std::size_t i = 0; fits && i < sizes.size(); ++i) {
                fits = sizes[i] == shape(b)[i] || sizes[i] == 1 ||
                       shape(b)[i] == 1;
                sizes[i] = std::max(sizes[i], shape(b)[i]);
            }
            if (fits) {
                keep(unary(
                    "aten::tanh", op(targets[below(3)], {a, b}, sizes), false));
                return;
            }
        }
    }
    void add_transpose() {
        const ValueId x = pick();
        if (rank(x) < 2) {
            return;
        }
        Sizes sizes = shape(x);
        const auto a = below(rank(x));
        const auto b = below(rank(x));
        std::swap(sizes[a], sizes[b]);
        keep(op("aten::transpose.int", {x, a, b}, sizes));
    }
    void add_permute() {
        const ValueId x = pick();
        Sizes dims;
        for (std::int64_t dim = 0; dim < rank(x); ++dim) {
            dims.push_back(dim);
        }
        for (std::size_t i = dims.size(); i > 1; --i) {
            std::swap(dims[i - 1], dims[below(static_cast<int>(i))]);
        }
        Sizes sizes;
        for (const std::int64_t dim : dims) {
            sizes.push_back(shape(x)[dim]);
        }
        keep(op("aten::permute", {x, dims}, sizes));
    }
    void add_matmul() {
        const ValueId x = pick();
        if (rank(x) < 2) {
            return;
        }
        Sizes out = shape(x);
        const std::int64_t inner = out.back();
        out.back() = sizes(1).front();
        keep(op("aten::matmul", {x, parameter({inner, out.back()})}, out));
    }
    //! x times its own transpose: one value, read by two ops.
    void add_gram() {
        const ValueId x = pick();
        if (rank(x) < 2) {
            return;
        }
        Sizes turned = shape(x);
        std::swap(turned[turned.size() - 1], turned[turned.size() - 2]);
        Sizes out = shape(x);
        out.back() = out[out.size() - 2];
        const ValueId y = op("aten::transpose.int",
                             {x, std::int64_t{-1}, std::int64_t{-2}},
                             turned);
        keep(y);
        const ValueId product = op("aten::matmul", {x, y}, out);
        keep(unary("aten::tanh", product, false));
    }
    void add_sum() {
        const ValueId x = pick();
        if (rank(x) < 2) {
            return;
        }
        const auto dim = below(rank(x));
        const bool keeps_dim = below(2) == 0;
        Sizes sizes = shape(x);
        if (keeps_dim) {
            sizes[dim] = 1;
        } else {
            sizes.erase(sizes.begin() + dim);
        }
        keep(op(below(2) == 0 ? "aten::sum.dim_IntList" : "aten::mean.dim",
                {x, Sizes{dim}, keeps_dim},
                sizes));
    }
    void add_softmax() {
        const ValueId x = pick();
        if (rank(x) > 0) {
            keep(op("aten::softmax.int",
                    {x, below(rank(x)), NoArgument{}},
                    shape(x)));
        }
    }
    void add_expand() {
        const ValueId x = pick();
        Sizes sizes = shape(x);
        for (std::int64_t& size : sizes) {
            size = size == 1 ? 2 + below(3) : size;
        }
        if (sizes.size() < 4 && below(2) == 0) {
            sizes.insert(sizes.begin(), 1 + below(3));
        }
        keep(op("aten::expand", {x, sizes}, sizes));
    }
    void add_split() {
        const ValueId x = pick();
        if (rank(x) == 0) {
            return;
        }
        const auto dim = below(rank(x));
        const std::int64_t size = shape(x)[dim];
        const std::int64_t part = (size + 1) / 2;
        std::vector<TensorType> types;
        for (std::int64_t begin = 0; begin < size; begin += part) {
            Sizes sizes = shape(x);
            sizes[dim] = std::min(part, size - begin);
            types.push_back(f32(sizes));
        }
        const auto parts = graph_.add_op_with_outputs(
            name("split"), "aten::split.Tensor", {x, part, dim}, types);
        for (const ValueId value : parts) {
            keep(value);
        }
    }
    void add_select() {
        const ValueId x = pick();
        if (rank(x) < 2) {
            return;
        }
        const auto dim = below(rank(x));
        Sizes sizes = shape(x);
        const auto index = below(sizes[dim]);
        sizes.erase(sizes.begin() + dim);
        keep(op("aten::select.int", {x, dim, index}, sizes));
    }
    void add_cat() {
        const ValueId x = pick();
        if (rank(x) == 0) {
            return;
        }
        const auto dim = below(rank(x));
        Sizes sizes = shape(x);
        sizes[dim] *= 2;
        if (sizes[dim] < 64) {
            keep(op("aten::cat", {std::vector<ValueOrNone>{x, x}, dim}, sizes));
        }
    }
    void add_reshape() {
        const ValueId x = pick();
        std::int64_t count = 1;
        for (const std::int64_t size : shape(x)) {
            count *= size;
        }
        const std::int64_t first = count % 3 == 0 ? 3 : 1;
        const Sizes sizes{first, count / first};
        keep(op("aten::reshape", {x, sizes}, sizes));
    }
    //! x where x > 0, else a number: the mask is a boundary value, too.
    void add_mask() {
        const ValueId x = pick();
        const ValueId mask = graph_.add_op(name("gt"),
                                           "aten::gt.Scalar",
                                           {x, 0.25},
                                           {DType::boolean, shape(x)});
        keep(op("aten::masked_fill.Scalar", {x, mask, 0.5}, shape(x)));
    }
    //! Complex values that cross cuts, one of them a view marked as conjugate.
    void add_spectrum() {
        const ValueId x = pick();
        if (rank(x) == 0) {
            return;
        }
        const std::int64_t length = shape(x).back();
        TensorType half{DType::c64, shape(x)};
        half.sizes.back() = length / 2 + 1;
        const ValueId spectrum =
            graph_.add_op(name("fft_rfft"),
                          "aten::fft_rfft",
                          {x, NoArgument{}, std::int64_t{-1}, NoArgument{}},
                          half);
        const ValueId conjugate =
            graph_.add_op(name("conj"), "aten::conj", {spectrum}, half);
        const ValueId product = graph_.add_op(
            name("mul"), "aten::mul.Tensor", {spectrum, conjugate}, half);
        const ValueId sum = graph_.add_op(name("add"),
                                          "aten::add.Tensor",
                                          {product, conjugate, std::int64_t{1}},
                                          half);
        keep(op("aten::fft_irfft",
                {sum, length, std::int64_t{-1}, NoArgument{}},
                shape(x)));
    }
    //! Rows of a table by the place of the largest element.
    void add_lookup() {
        const ValueId x = pick();
        if (rank(x) == 0 || rank(x) > 3) {
            return;
        }
        Sizes sizes = shape(x);
        const std::int64_t rows = sizes.back();
        sizes.pop_back();
        const ValueId index = graph_.add_op(name("argmax"),
                                            "aten::argmax",
                                            {x, std::int64_t{-1}, false},
                                            {DType::i64, sizes});
        sizes.push_back(3);
        keep(op("aten::embedding",
                {parameter({rows, 3}), index, std::int64_t{-1}, false, false},
                sizes));
    }
    void add_dropout() {
        const ValueId x = pick();
        const ValueId mask = op("fusionllm::dropout_mask", {x, 0.25}, shape(x));
        keep(op("aten::mul.Tensor", {x, mask}, shape(x)));
    }
    void add_layer_norm() {
        const ValueId x = pick();
        if (rank(x) == 0) {
            return;
        }
        const Sizes last{shape(x).back()};
        keep(op("aten::layer_norm",
                {x, last, parameter(last), parameter(last), 1e-1, true},
                shape(x)));
    }
    void add_contiguous() {
        const ValueId x = pick();
        keep(op("aten::contiguous", {x}, shape(x)));
    }

    void add_loss() {
        ValueId loss =
            graph_.add_op("start", "aten::zeros", {Sizes{}}, f32({}));
        bool is_first = true;
        for (const ValueId value : pool_) {
            const bool is_read = std::ranges::count(read_, value) > 0;
            if (is_read || (!is_first && below(6) == 0)) {
                continue;
            }
            is_first = false;
            const ValueId square =
                op("aten::mul.Tensor", {value, value}, shape(value));
            const ValueId mean = op("aten::mean", {square}, {});
            loss = op("aten::add.Tensor", {loss, mean}, {});
        }
        graph_.set_loss(loss);
    }

    std::mt19937_64 random_;
    GraphBuilder graph_;
    std::vector<ValueId> pool_;
    std::vector<ValueId> read_;
    std::vector<ValueId> parameters_;
    int num_ops_ = 0;
};

}  // namespace

OpGraph make_random_graph(std::uint64_t seed, int num_ops) {
    return Generator(seed).make(num_ops);
}

std::vector<HostTensor> make_random_inputs(const OpGraph& graph,
                                           std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<HostTensor> inputs;
    for (const ValueId input : graph.signature().inputs) {
        HostTensor tensor{graph.value(input).type, {}};
        for (std::int64_t i = 0; i < num_elements(tensor.type); ++i) {
            const auto number =
                static_cast<float>(random() >> 40) * 0x1p-23f - 1.0f;
            const auto* bytes = reinterpret_cast<const std::byte*>(&number);
            tensor.bytes.insert(
                tensor.bytes.end(), bytes, bytes + sizeof number);
        }
        inputs.push_back(std::move(tensor));
    }
    return inputs;
}

}  // namespace fusionllm::test
