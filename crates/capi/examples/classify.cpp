// Classifies image files in one call, on all cores: classify MODEL.onnx IMAGE...
//
// The model is read into memory first, as one that is part of the program would be. Prints a line for each image: its path, the
// predicted class, its probability, and the second class with its probability.

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kiln.h"

namespace kiln {

struct Free {
    void operator()(kiln_model *model) const { kiln_free(model); }
    void operator()(kiln_results *results) const { kiln_results_free(results); }
};

// Throws what went wrong.
inline void check(kiln_status status, kiln_error *error) {
    if (status != KILN_STATUS_OK) {
        std::string message = kiln_error_message(error);
        kiln_error_free(error);
        throw std::runtime_error(message);
    }
}

// Results, valid without their model.
class Results {
public:
    explicit Results(kiln_results *results) : results_(results) {}
    std::size_t size() const { return kiln_results_count(results_.get()); }
    const kiln_prediction &operator[](std::size_t image) const { return *kiln_results_get(results_.get(), image); }

private:
    std::unique_ptr<kiln_results, Free> results_;
};

// A model that any number of threads may use.
class Model {
public:
    explicit Model(const std::vector<char> &bytes, std::vector<const char *> settings = {}) {
        kiln_options options{};
        options.size = sizeof options;
        options.settings = settings.data();
        options.settings_count = settings.size();
        kiln_model *model = nullptr;
        kiln_error *error = nullptr;
        check(kiln_open_bytes(bytes.data(), bytes.size(), &options, &model, &error), error);
        model_.reset(model);
    }

    const kiln_model_info &info() const { return *kiln_info(model_.get()); }

    // Throws unless the machine computes what the file's golden vectors have.
    void verify() const {
        kiln_error *error = nullptr;
        check(kiln_verify(model_.get(), nullptr, &error), error);
    }

    Results classify(const std::vector<std::string> &paths) const {
        std::vector<kiln_image> images;
        for (const std::string &path : paths) {
            kiln_image image{};
            image.path = path.c_str();
            images.push_back(image);
        }
        kiln_results *results = nullptr;
        kiln_error *error = nullptr;
        check(kiln_classify_batch(model_.get(), images.data(), images.size(), &results, &error), error);
        return Results(results);
    }

private:
    std::unique_ptr<kiln_model, Free> model_;
};

} // namespace kiln

int main(int argc, char **argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s MODEL.onnx IMAGE...\n", argv[0]);
        return 2;
    }
    try {
        std::ifstream file(argv[1], std::ios::binary);
        const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        const kiln::Model model(bytes);
        model.verify();
        const std::vector<std::string> paths(argv + 2, argv + argc);
        const kiln::Results results = model.classify(paths);
        bool failed = false;
        for (std::size_t i = 0; i < results.size(); i++) {
            const kiln_prediction &found = results[i];
            if (found.error != nullptr) {
                std::fprintf(stderr, "%s: %s\n", paths[i].c_str(), found.error);
                failed = true;
                continue;
            }
            std::printf("%s\t%s\t%.9g", paths[i].c_str(), found.label, static_cast<double>(found.probability));
            if (found.classes > 1) {
                const std::size_t second = found.ranking[1];
                std::printf("\t%s\t%.9g", model.info().labels[second], static_cast<double>(found.probabilities[second]));
            }
            std::printf("\n");
        }
        return failed ? 1 : 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
