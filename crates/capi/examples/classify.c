/*
 * Classifies image files: classify MODEL.onnx IMAGE...
 *
 * Proves the machine by the model's golden vectors first. Prints a line for each image: its path, the predicted class, its
 * probability, and the classes that it has, where it can have several. An image that cannot be read is told on standard error,
 * and makes the exit status 1.
 */
#include <stdio.h>
#include <stdlib.h>

#include "kiln.h"

/* Tells what went wrong, and frees the error. */
static void tell(const char *what, kiln_error *error) {
    fprintf(stderr, "%s: %s\n", what, kiln_error_message(error));
    kiln_error_free(error);
}

static int classify(const kiln_model *model, const char *path) {
    kiln_results *results = NULL;
    kiln_error *error = NULL;
    if (kiln_classify_file(model, path, &results, &error) != KILN_STATUS_OK) {
        tell(path, error);
        return 1;
    }
    const kiln_model_info *info = kiln_info(model);
    const kiln_prediction *prediction = kiln_results_get(results, 0);
    printf("%s\t%s\t%.9g", path, prediction->label, (double)prediction->probability);
    for (size_t i = 0; info->has_several && i < prediction->chosen_count; i++) {
        printf("%c%s", i == 0 ? '\t' : ',', info->labels[prediction->chosen[i]]);
    }
    printf("\n");
    kiln_results_free(results);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL.onnx IMAGE...\n", argv[0]);
        return 2;
    }
    kiln_options options = {0};
    options.size = sizeof options;
    options.threads = 1;

    kiln_model *model = NULL;
    kiln_error *error = NULL;
    if (kiln_open(argv[1], &options, &model, &error) != KILN_STATUS_OK) {
        tell(argv[0], error);
        return 1;
    }
    double difference = 0.0;
    if (kiln_verify(model, &difference, &error) != KILN_STATUS_OK) {
        tell(argv[1], error);
        kiln_free(model);
        return 1;
    }
    const kiln_model_info *info = kiln_info(model);
    fprintf(stderr, "kiln %s, %s %s: %zu classes, %zu golden vectors differ by %.2g of what they may\n", kiln_version(), info->engine,
            info->engine_version, info->classes, info->golden_vectors, difference);

    int failed = 0;
    for (int i = 2; i < argc; i++) {
        failed |= classify(model, argv[i]);
    }
    kiln_free(model);
    return failed;
}
