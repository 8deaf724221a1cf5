// Compiled only with -DPADDLE_LITE_DIR.
#include <paddle_api.h>

#include <algorithm>

#include "engine.h"
#include "error.h"
#include "files.h"
#include "nb.h"

namespace edgekit {
namespace {

namespace lite = paddle::lite_api;

class LiteEngine : public Engine {
public:
    LiteEngine(const std::filesystem::path& model, const std::vector<std::string>& outputs, int threads)
        : name_(model.string()), outputs_(outputs) {
        lite::MobileConfig config;
        config.set_model_from_file(name_);
        config.set_threads(threads);
        predictor_ = guarded([&] { return lite::CreatePaddlePredictor<lite::MobileConfig>(config); });
        if (!predictor_) throw Error("EK501", "Paddle Lite cannot load " + name_ + ".");
    }

    Tensors run(const Tensor& input) override {
        return guarded([&] {
            const auto feed = predictor_->GetInput(0);
            feed->Resize(input.shape);
            std::copy(input.values.begin(), input.values.end(), feed->mutable_data<float>());
            predictor_->Run();
            Tensors result;
            for (std::size_t k = 0; k < outputs_.size(); ++k) {
                const auto output = predictor_->GetOutput(static_cast<int>(k));
                Tensor tensor{output->shape(), {}};
                std::size_t count = 1;
                for (const std::int64_t side : tensor.shape) count *= static_cast<std::size_t>(side);
                const float* data = output->data<float>();
                tensor.values.assign(data, data + count);
                result[outputs_[k]] = std::move(tensor);
            }
            return result;
        });
    }

    std::string version() const override { return "Paddle Lite " PADDLE_LITE_VERSION; }

private:
    template <typename Do>
    auto guarded(Do what) const -> decltype(what()) {
        try {
            return what();
        } catch (const Error&) {
            throw;
        } catch (const std::exception& error) {
            throw Error("EK501", "Paddle Lite failed with " + name_ + ": " + error.what());
        }
    }

    std::string name_;
    std::vector<std::string> outputs_;
    std::shared_ptr<lite::PaddlePredictor> predictor_;
};

}  // namespace

std::unique_ptr<Engine> open_lite(const std::filesystem::path& model, const std::vector<std::string>& outputs, int threads) {
    // Before Lite sees the file: it ends the process over what another version wrote.
    check_nb_version(nb_version(read_file(model), model.string()), PADDLE_LITE_VERSION, model.string());
    return std::make_unique<LiteEngine>(model, outputs, threads);
}

}  // namespace edgekit
