#include "engine.h"
#include "error.h"

namespace edgekit {

std::unique_ptr<Engine> open_lite(const std::filesystem::path& model, const std::vector<std::string>&, int) {
    throw Error("EK502", model.string() + " is for Paddle Lite, with which this edgekit-run was not built (see "
                                          "-DPADDLE_LITE_DIR in runtimes/cpp/README.md).");
}

}  // namespace edgekit
