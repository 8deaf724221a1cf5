#include "nb.h"

#include <algorithm>
#include <cctype>

#include "error.h"

namespace edgekit {

std::string nb_version(const std::vector<std::uint8_t>& data, const std::string& name) {
    // Two bytes with the layout's number, then the version, ended by a NUL, in sixteen.
    constexpr std::size_t START = 2, SIZE = 16;
    if (data.size() < START + SIZE) throw Error("EK409", name + " is no model of Paddle Lite: it is too short.");
    const auto from = data.begin() + START, end = std::find(from, from + SIZE, 0);
    const bool is_text = std::all_of(from, end, [](std::uint8_t c) { return std::isgraph(c) != 0; });
    if (end == from + SIZE || end == from || *from != 'v' || !is_text)
        throw Error("EK409", name + " is no model of Paddle Lite: it names no version.");
    return {from, end};
}

void check_nb_version(const std::string& model, const std::string& library, const std::string& name) {
    if (model != library)
        throw Error("EK502", name + " was written by Paddle Lite's opt " + model + ", but the library here is " + library +
                                 ": the two must be equal. Convert with opt " + library + ", or take the library of " + model + ".");
}

}  // namespace edgekit
