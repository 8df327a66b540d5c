#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fusionllm {

struct PickleValue;
//! Lives as long as its `Pickle`. Values may be shared, and contain themselves.
using PickleRef = const PickleValue*;

struct PickleNone {
    friend bool operator==(PickleNone, PickleNone) = default;
};
//! A Python class or function by name, "module.name"; never looked up.
struct PickleGlobal {
    std::string name;
};
//! A tuple or list.
struct PickleList {
    std::vector<PickleRef> items;
};
struct PickleDict {
    std::vector<std::pair<PickleRef, PickleRef>> items;
};
//! What a class or function would have made of its arguments: nothing has.
struct PickleObject {
    std::string callable;  //!< "module.name"
    PickleRef arguments;   //!< a list
    PickleRef state;       //!< what it would be given then; null: nothing
    PickleDict items;      //!< put into it, if it is a dict
};
//! Something outside the pickle, by what names it.
struct PickleOutside {
    PickleRef id;
};

struct PickleValue {
    std::variant<PickleNone,
                 bool,
                 std::int64_t,
                 double,
                 std::string_view,  // text or bytes, where they lie
                 PickleGlobal,
                 PickleList,
                 PickleDict,
                 PickleObject,
                 PickleOutside>
        data;

    //! Null if it is of another kind.
    template <class Kind>
    const Kind* get() const {
        return std::get_if<Kind>(&data);
    }
};

//! What a pickle is, for messages, and what it may hold.
struct PickleRules {
    std::string what;    //!< "the pickled tensors of the archive"
    std::string advice;  //!< "save the model again"
    //! Whether a class or function of this name may occur.
    std::function<bool(std::string_view)> is_known;
};

/*!
 * What a Python pickle (protocol 2 and later) describes, as plain values.
 *
 * A machine for the instructions that data needs. Where Python would call a
 * function, this only writes down which and with what; so nothing of a pickle
 * can ever run. Names that are not known are refused all the same.
 *
 * Memory: about 100 bytes a value; texts stay where they are. Throws
 * `InputError` "WHAT cannot be read: WHY; ADVICE".
 */
class Pickle {
public:
    //! The bytes must outlive it.
    Pickle(std::string_view bytes, const PickleRules& rules);
    Pickle(Pickle&&) noexcept = default;

    PickleRef root() const { return root_; }

private:
    std::deque<PickleValue> values_;
    PickleRef root_ = nullptr;
};

}  // namespace fusionllm
