#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/graph/op.hpp"

namespace fusionllm {

//! How a parameter starts; drawn from (run seed, parameter name).
struct Initializer {
    enum class Kind { zeros, ones, normal, uniform };
    Kind kind = Kind::zeros;
    double scale = 0;  //!< standard deviation, or half width of the interval

    friend bool operator==(const Initializer&, const Initializer&) = default;
};

//! A trained tensor; `name` is the model's own, e.g. "h.0.attn.c_attn.weight".
struct Parameter {
    std::string name;
    ValueId value;
    Initializer initializer;
    bool has_weight_decay = true;  //!< not for biases and norms

    friend bool operator==(const Parameter&, const Parameter&) = default;
};

/*!
 * A tensor that belongs to the model but is not trained: it has no gradient,
 * and ops may change it in place, such as the running mean of a batch norm.
 * Like a parameter, every rank that uses it holds it.
 */
struct ModelBuffer {
    std::string name;  //!< the model's own, e.g. "bn1.running_mean"
    ValueId value;
    Initializer initializer;

    friend bool operator==(const ModelBuffer&, const ModelBuffer&) = default;
};

/*!
 * What the values of a graph without a producer are, and what comes out.
 *
 * `inputs` are given for every micro-batch, in the order of the data set's
 * fields (labels included: the last ones, `num_labels` of them).
 */
struct GraphSignature {
    std::vector<Parameter> parameters;
    std::vector<ValueId> inputs;
    std::size_t num_labels = 0;
    std::optional<ValueId> loss;    //!< scalar f32
    std::optional<ValueId> output;  //!< e.g. logits (B, T, V)
    std::vector<ModelBuffer> buffers;

    friend bool operator==(const GraphSignature&,
                           const GraphSignature&) = default;
};

/*!
 * A network as a directed acyclic graph of operators (OP-DAG).
 *
 * Immutable and checked when built: every value has exactly one source (an op,
 * an input, a parameter or a buffer), names are unique, there is no cycle. The
 * ops stand in *canonical order*, a topological order that is a function of the
 * graph alone (not of the order in which ops and values were given) and keeps
 * the bytes of live values low: ready ops are taken one by one, each time the
 * one that leaves the fewest live bytes, ties by name; ops that read no made
 * value come after those that do, the one farthest from the end first. An op
 * that does not depend on both an input and a parameter (a constant mask,
 * labels given another shape) waits until just before its first user, so that
 * its output does not cross the cuts before. Values are numbered as they come:
 * inputs, parameters, buffers, outputs of ops in order; so equal graphs compare
 * equal. Stages are contiguous in this order, and gradient sums, clipping and
 * random keys follow it: so numbers never depend on a plan.
 *
 * Throws `InputError` for a graph that is not one.
 */
class OpGraph {
public:
    OpGraph(std::string name,
            std::vector<Value> values,
            std::vector<Op> ops,
            GraphSignature signature);

    const std::string& name() const { return name_; }
    const std::vector<Value>& values() const { return values_; }
    //! In canonical order; `OpId` is the position in it.
    const std::vector<Op>& ops() const { return ops_; }
    const GraphSignature& signature() const { return signature_; }

    const Value& value(ValueId id) const { return values_.at(id.get()); }
    const Op& op(OpId id) const { return ops_.at(id.get()); }
    //! The op that makes the value, or none for inputs, parameters, buffers.
    std::optional<OpId> producer(ValueId id) const;
    //! Ops that read the value, ascending, without repeats.
    const std::vector<OpId>& users(ValueId id) const;
    //! A floating-point value that depends on a parameter and reaches the loss.
    bool has_gradient(ValueId id) const { return has_gradient_.at(id.get()); }
    //! Position in `signature().parameters`, or none.
    std::optional<std::size_t> parameter_index(ValueId id) const;
    //! Position in `signature().buffers`, or none.
    std::optional<std::size_t> buffer_index(ValueId id) const;

    friend bool operator==(const OpGraph&, const OpGraph&) = default;

private:
    void index_values();

    std::string name_;
    std::vector<Value> values_;
    std::vector<Op> ops_;
    GraphSignature signature_;
    std::vector<std::optional<OpId>> producers_;         // by value
    std::vector<std::vector<OpId>> users_;               // by value
    std::vector<std::optional<std::size_t>> parameter_;  // by value
    std::vector<std::optional<std::size_t>> buffer_;     // by value
    std::vector<bool> has_gradient_;                     // by value
};

/*!
 * One op a line; `parse_graph(to_text(g)) == g`. A graph with one op:
 *
 *     graph line
 *     input %x f32[8,4]
 *     label %labels i64[8]
 *     parameter w %w f32[2,4] normal(0.02) decay
 *     buffer running_mean %mean f32[2] zeros
 *     %y f32[8,2] = y aten::linear(%x, %w, None)
 *     output %y
 *
 * Names with other characters than A-Z a-z 0-9 _.:/$+- are quoted, # begins a
 * comment, lines may come in any order after the first. Lists are [1, 2],
 * floats[0.5], bools[true] and values[%x, None]; a number with a point, inf or
 * nan is a double, which keeps all its digits.
 */
std::string to_text(const OpGraph& graph);
//! Throws `InputError` with the line number.
OpGraph parse_graph(std::string_view text);
//! 64-bit hash of the text form but for the name: do ranks and files agree?
std::uint64_t graph_hash(const OpGraph& graph);

/*!
 * The graph as it runs without training: dropout removed (a mask op and its
 * product become the unmasked value), training flags of batch norm off.
 * Parameters and buffers keep their names.
 */
OpGraph evaluation_form(const OpGraph& graph);

}  // namespace fusionllm
