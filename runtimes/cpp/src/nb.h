#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace edgekit {

// The version of the `opt` that wrote a Paddle Lite model, such as "v2.13-rc". Raises EK409 for what is no .nb file.
std::string nb_version(const std::vector<std::uint8_t>& data, const std::string& name);

// Paddle Lite reads only what its own version's `opt` wrote, and dies of anything else. Raises EK502 naming both.
void check_nb_version(const std::string& model, const std::string& library, const std::string& name);

}  // namespace edgekit
