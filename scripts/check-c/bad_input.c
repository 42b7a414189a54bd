/*
 * Everything that a program can do wrong, and files that hold nothing good: bad_input MODEL.onnx BOMB.png GARBAGE.onnx
 *
 * Each call has to fail with its status and a message, and give NULL. Prints the messages.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "kiln.h"

static int failures = 0;

/* Checks a call that fails: its status, its error, and that it gave nothing. */
static void expect(const char *what, kiln_status expected, kiln_status found, kiln_error *error, const void *given) {
    const char *message = kiln_error_message(error);
    if (found != expected || strlen(message) == 0 || given != NULL) {
        printf("FAILED: %s: status %d, expected %d: %s\n", what, (int)found, (int)expected, message);
        failures++;
    } else {
        printf("%s: %s\n", what, message);
    }
    kiln_error_free(error);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        return 2;
    }
    kiln_model *model = NULL, *none = NULL;
    kiln_results *results = NULL;
    kiln_error *error = NULL;
    const uint8_t pixels[12] = {0};
    kiln_status status;

#define EXPECT(what, expected, given, call) \
    error = NULL;                           \
    status = (call);                        \
    expect(what, expected, status, error, given)

    EXPECT("no such model", KILN_STATUS_LOAD, none, kiln_open("no/such/model.onnx", NULL, &none, &error));
    EXPECT("garbage for a model", KILN_STATUS_LOAD, none, kiln_open(argv[3], NULL, &none, &error));
    EXPECT("garbage in memory", KILN_STATUS_LOAD, none, kiln_open_bytes(pixels, sizeof pixels, NULL, &none, &error));
    EXPECT("a folder for a model", KILN_STATUS_LOAD, none, kiln_open("/", NULL, &none, &error));
    EXPECT("no path", KILN_STATUS_INVALID_ARGUMENT, none, kiln_open(NULL, NULL, &none, &error));
    EXPECT("no place for the model", KILN_STATUS_INVALID_ARGUMENT, NULL, kiln_open(argv[1], NULL, NULL, &error));

    kiln_options options;
    memset(&options, 0, sizeof options);
    EXPECT("options without a size", KILN_STATUS_INVALID_ARGUMENT, none, kiln_open(argv[1], &options, &none, &error));
    options.size = sizeof options;
    options.engine = "abacus";
    EXPECT("an engine that is none", KILN_STATUS_INVALID_ARGUMENT, none, kiln_open(argv[1], &options, &none, &error));
    options.engine = "ort";
    options.library = "/no/such/libonnxruntime.so";
    EXPECT("a library that is none", KILN_STATUS_LOAD, none, kiln_open(argv[1], &options, &none, &error));
    options.engine = NULL;
    options.library = NULL;
    const char *settings[] = {"size=0"};
    options.settings = settings;
    options.settings_count = 1;
    EXPECT("a setting out of range", KILN_STATUS_LOAD, none, kiln_open(argv[1], &options, &none, &error));
    options.settings = NULL;
    EXPECT("settings that are NULL", KILN_STATUS_INVALID_ARGUMENT, none, kiln_open(argv[1], &options, &none, &error));
    options.settings_count = 0;
    options.threads = 2;

    error = NULL;
    if (kiln_open(argv[1], &options, &model, &error) != KILN_STATUS_OK) {
        printf("FAILED: %s\n", kiln_error_message(error));
        kiln_error_free(error);
        return 1;
    }
    EXPECT("no such image", KILN_STATUS_IMAGE, results, kiln_classify_file(model, "no/such.png", &results, &error));
    EXPECT("an image bomb", KILN_STATUS_IMAGE, results, kiln_classify_file(model, argv[2], &results, &error));
    EXPECT("a model for an image", KILN_STATUS_IMAGE, results, kiln_classify_file(model, argv[1], &results, &error));
    EXPECT("no image in memory", KILN_STATUS_IMAGE, results, kiln_classify_bytes(model, NULL, 0, &results, &error));
    EXPECT("NULL of three bytes", KILN_STATUS_INVALID_ARGUMENT, results, kiln_classify_bytes(model, NULL, 3, &results, &error));
    EXPECT("more bytes than there can be", KILN_STATUS_INVALID_ARGUMENT, results,
           kiln_classify_bytes(model, pixels, SIZE_MAX, &results, &error));
    EXPECT("pixels of another size", KILN_STATUS_IMAGE, results, kiln_classify_pixels(model, pixels, 12, 3, 3, 3, &results, &error));
    EXPECT("pixels of five channels", KILN_STATUS_IMAGE, results, kiln_classify_pixels(model, pixels, 5, 1, 1, 5, &results, &error));
    EXPECT("pixels without a side", KILN_STATUS_IMAGE, results, kiln_classify_pixels(model, pixels, 0, 0, 2, 1, &results, &error));
    EXPECT("sides whose product overflows", KILN_STATUS_IMAGE, results,
           kiln_classify_pixels(model, pixels, 12, UINT32_MAX, UINT32_MAX, 4, &results, &error));
    EXPECT("no model", KILN_STATUS_INVALID_ARGUMENT, results, kiln_classify_file(NULL, argv[2], &results, &error));
    EXPECT("no place for results", KILN_STATUS_INVALID_ARGUMENT, NULL, kiln_classify_file(model, argv[2], NULL, &error));
    EXPECT("no images", KILN_STATUS_INVALID_ARGUMENT, results, kiln_classify_batch(model, NULL, 2, &results, &error));
    EXPECT("no model to verify", KILN_STATUS_INVALID_ARGUMENT, NULL, kiln_verify(NULL, NULL, &error));

    kiln_image images[3];
    memset(images, 0, sizeof images);
    images[0].path = argv[2];
    EXPECT("an image that is nothing", KILN_STATUS_INVALID_ARGUMENT, results, kiln_classify_batch(model, images, 3, &results, &error));
    images[1].data = pixels;
    images[1].size = sizeof pixels;
    images[1].height = 2;
    images[1].width = 2;
    images[1].channels = 3;
    images[2].data = pixels;
    images[2].size = sizeof pixels;
    images[1].path = argv[2];
    EXPECT("an image that is two", KILN_STATUS_INVALID_ARGUMENT, results, kiln_classify_batch(model, images, 3, &results, &error));
    images[1].path = NULL;

    /* Of a batch the good image is classified, and nobody wants the error. */
    if (kiln_classify_batch(model, images, 3, &results, NULL) != KILN_STATUS_OK || kiln_results_count(results) != 3 ||
        kiln_results_get(results, 0)->error == NULL || kiln_results_get(results, 1)->error != NULL ||
        kiln_results_get(results, 2)->error == NULL || kiln_results_get(results, 3) != NULL) {
        printf("FAILED: a batch of a bomb, a good image and garbage\n");
        failures++;
    }
    kiln_results_free(results);
    if (kiln_classify_batch(model, NULL, 0, &results, NULL) != KILN_STATUS_OK || kiln_results_count(results) != 0) {
        printf("FAILED: a batch of no images\n");
        failures++;
    }
    kiln_results_free(results);
    kiln_results_free(NULL);
    kiln_error_free(NULL);
    kiln_free(NULL);
    kiln_free(model);
    if (kiln_info(NULL) != NULL || kiln_results_count(NULL) != 0 || kiln_results_get(NULL, 0) != NULL || *kiln_error_message(NULL) != 0) {
        printf("FAILED: what is known of NULL\n");
        failures++;
    }
    return failures == 0 ? 0 : 1;
}
