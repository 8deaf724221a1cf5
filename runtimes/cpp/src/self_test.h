#pragma once

#include <filesystem>
#include <string>

#include "answers.h"

namespace edgekit {

// Runs a bundle's golden vectors and names the first thing that differs:
//   files            a listed file is missing or has another sha256
//   model            the model cannot be loaded
//   pre-processing   golden/N/picture.png does not become golden/N/input.npy
//   inference        input.npy does not become the expected raw outputs
//   post-processing  the expected raw outputs do not become the expected answer
//   answer           each step is right by itself, but the picture's answer is another
// Each step starts from the golden vector of the one before, so that none hides or is blamed for another's fault.
//
// The result: {"bundle", "model", "engine", "machine", "verdict": "passed" | "failed", "failed": null | {"stage",
// "where", "why"}, "golden": [{"name", ... what was measured}]}; of a combined bundle {"bundle", "verdict", "parts"}.
// What is wrong with the bundle is in the result; raised are EK401 and EK409, when there is no bundle to test, and
// EK502, when the engine that was asked for is missing.
Json self_test(const std::filesystem::path& bundle, const std::string& wanted, int threads);

}  // namespace edgekit
