#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "answers.h"
#include "engine.h"
#include "manifest.h"
#include "picture.h"

namespace edgekit {

struct Bundle {
    std::filesystem::path path;
    Manifest manifest;

    // The file with a role, such as "int8.onnx".
    std::optional<std::filesystem::path> file(const std::string& role) const;

    // The role of the model that runs: `wanted` ("fp32", "int8", "fp32.onnx", ..., "int8.nb"), or the manifest's
    // default when it is empty. Raises EK401 when the bundle has none.
    std::string model(const std::string& wanted) const;

    // Every listed file against its sha256. Raises EK401 and EK402.
    void check_hashes() const;
};

// One bundle, or the parts of a combined one. Raises EK401 and EK409.
std::vector<Bundle> open_bundle(const std::filesystem::path& path);

// A loaded network with its pre- and post-processing.
class Model {
public:
    // Raises EK401, EK402 (the file's hash), EK409, EK501 and EK502.
    Model(Bundle bundle, const std::string& wanted, int threads);

    const Bundle& bundle() const { return bundle_; }
    const std::string& role() const { return role_; }  // "int8.onnx"
    Engine& engine() { return *engine_; }

    // The network's input for a picture. Raises EK406, and EK409 when the network takes another size.
    Tensor input(const Picture& picture) const;

    // The final answer. Raises what `input`, Engine::run and `edgekit::answer` do.
    Json answer(const Picture& picture);

private:
    Bundle bundle_;
    std::string role_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace edgekit
