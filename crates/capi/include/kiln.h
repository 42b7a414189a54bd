/*
 * kiln: ONNX image classifiers, prepared and computed as their files record.
 *
 *     kiln_model *model = NULL;
 *     kiln_error *error = NULL;
 *     if (kiln_open("model.onnx", NULL, &model, &error) != KILN_STATUS_OK) {
 *         fprintf(stderr, "%s\n", kiln_error_message(error));
 *         kiln_error_free(error);
 *         return 1;
 *     }
 *     kiln_results *results = NULL;
 *     if (kiln_classify_file(model, "photo.jpg", &results, NULL) == KILN_STATUS_OK) {
 *         const kiln_prediction *prediction = kiln_results_get(results, 0);
 *         printf("%s (%.1f %%)\n", prediction->label, prediction->probability * 100.0);
 *     }
 *     kiln_results_free(results);
 *     kiln_free(model);
 *
 * Ownership. What a function gives through a pointer to a pointer is the caller's, to be freed once by the function named
 * for it; those functions take NULL, and do nothing. What is reached through it (labels, numbers, messages) belongs to it
 * and is valid until it is freed. Results do not need their model any more. Arguments are not kept after a call.
 *
 * Errors. Every function that can fail returns a kiln_status, and, where `error` is not NULL, sets `*error`: to NULL on
 * success, else to an error with one sentence that says what was expected and what was found. What else a function gives
 * is NULL after a failure. Nothing that a file or an image holds ends the process.
 *
 * Threads. A model may be used by any number of threads at once, each of which gets its own results. An error, or results,
 * may be read by several threads, and freed by one of them once the others no longer use it.
 *
 * Text is UTF-8 and ends in NUL; so are paths, which on Unix may be any bytes. A NUL within a label or a message of a file
 * is given as U+FFFD.
 */


#ifndef KILN_H
#define KILN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * What came of a call.
 */
typedef enum kiln_status {
    /**
     * It did what it is for.
     */
    KILN_STATUS_OK = 0,
    /**
     * An argument that cannot be: NULL, a size that does not fit, an option that does not exist.
     */
    KILN_STATUS_INVALID_ARGUMENT = 1,
    /**
     * A model that cannot be loaded: its file, its engine, what is specified about it.
     */
    KILN_STATUS_LOAD = 2,
    /**
     * An image that cannot be read, decoded or prepared.
     */
    KILN_STATUS_IMAGE = 3,
    /**
     * The engine failed, or gave scores that are no numbers.
     */
    KILN_STATUS_RUN = 4,
    /**
     * The golden vectors of a model have other scores on this machine, or there are none.
     */
    KILN_STATUS_VERIFICATION = 5,
    /**
     * A bug in kiln, whose message is the error's. The model may be used further.
     */
    KILN_STATUS_PANIC = 6,
} kiln_status;

/**
 * What went wrong.
 */
typedef struct kiln_error kiln_error;

/**
 * A model, loaded on an engine.
 */
typedef struct kiln_model kiln_model;

/**
 * What came of the images of a call, in their order.
 */
typedef struct kiln_results kiln_results;

/**
 * How a model is loaded. Zero everything, set `size`, then what is wanted:
 *
 *     kiln_options options = {0};
 *     options.size = sizeof options;
 *     options.threads = 1;
 *
 * Fields may be added at the end in later versions: `size` says which ones the program knows.
 */
typedef struct kiln_options {
    /**
     * Size of this struct in bytes: `sizeof(kiln_options)`.
     */
    size_t size;
    /**
     * What computes the graph: "tract", "ort" for ONNX Runtime, or NULL for the first that is built in.
     */
    const char *engine;
    /**
     * Where it is computed: "cpu", "cuda", "auto" for a GPU where there is one, or NULL for the CPU.
     */
    const char *device;
    /**
     * Threads that the model starts and computes with, and that end with it; 0 for one per core. With tract and 1, each call
     * computes on the thread that makes it. With ONNX Runtime so many calls compute at once, on a thread each.
     */
    size_t threads;
    /**
     * Shared library of ONNX Runtime, or the folder that has it; NULL for the one that the variable KILN_ORT_LIB names, or
     * the system's.
     */
    const char *library;
    /**
     * What the model's file leaves open, or has otherwise: `settings_count` texts KEY=VALUE with the keys of a sidecar, such as
     * "preprocess=torch", "size=224" or "labels=names.txt". They go before a sidecar.
     */
    const char *const *settings;
    /**
     * Number of settings.
     */
    size_t settings_count;
} kiln_options;

/**
 * What is known of a model. Fields may be added at the end in later versions; the library makes it, so that a program need not
 * know its size.
 */
typedef struct kiln_model_info {
    /**
     * Number of classes, at least 1: that of scores and probabilities of an image.
     */
    size_t classes;
    /**
     * Their names, in the order of scores and probabilities; their numbers from 0 where nobody names them.
     */
    const char *const *labels;
    /**
     * Channels of an image as the graph takes it: 1 or 3.
     */
    uint32_t channels;
    /**
     * Its height in pixels. Images of any size are classified: they are resized as the model's record says.
     */
    uint32_t height;
    /**
     * Its width in pixels.
     */
    uint32_t width;
    /**
     * What the channels are: "gray", "rgb" or "bgr".
     */
    const char *channel_order;
    /**
     * What the scores are: "logits", "probabilities", "log_probabilities", "sigmoid" or "sigmoid_logits".
     */
    const char *output;
    /**
     * Whether each class has a probability by itself, so that an image can have any number of classes.
     */
    bool has_several;
    /**
     * Whether the graph ends as one of features does rather than a classifier's: only `scores` of a prediction mean something
     * then, and are the features.
     */
    bool is_features;
    /**
     * What a probability has to exceed where each class has one by itself: one for each class, or for two classes with one
     * score that of the second. NULL where classes exclude each other.
     */
    const float *thresholds;
    /**
     * Number of thresholds.
     */
    size_t thresholds_count;
    /**
     * Number of golden vectors in the file, which `kiln_verify` replays.
     */
    size_t golden_vectors;
    /**
     * The engine in use, such as "tract".
     */
    const char *engine;
    /**
     * Its version; "" where it is not known.
     */
    const char *engine_version;
    /**
     * The device in use: "cpu" or "cuda".
     */
    const char *device;
    /**
     * Number of threads that a call may use.
     */
    size_t threads;
} kiln_model_info;

/**
 * An image: a file, the bytes of one, or pixels. Zero everything, then set what is there:
 *
 * - a file: `path`;
 * - the bytes of an image file (PNG, JPEG, BMP, WebP, TIFF or GIF): `data` and `size`;
 * - pixels: all but `path`. They are bytes, rows from the top, pixels from the left, the channels of a pixel together, without
 *   gaps, so that `size` is height x width x channels.
 */
typedef struct kiln_image {
    /**
     * Path of an image file.
     */
    const char *path;
    /**
     * The bytes of an image file, or pixels.
     */
    const void *data;
    /**
     * Number of bytes.
     */
    size_t size;
    /**
     * Height in pixels; 0 for a file.
     */
    uint32_t height;
    /**
     * Width in pixels; 0 for a file.
     */
    uint32_t width;
    /**
     * 1 (gray), 2 (gray, alpha), 3 (red, green, blue) or 4 (red, green, blue, alpha); 0 for a file.
     */
    uint32_t channels;
} kiln_image;

/**
 * What came of one image. Fields may be added at the end in later versions; the library makes it, so that a program need not
 * know its size.
 */
typedef struct kiln_prediction {
    /**
     * Why the image has no prediction, a sentence; NULL where it has one. Then all numbers are 0 and all other pointers NULL.
     */
    const char *error;
    /**
     * Number of classes: that of probabilities, scores and the ranking.
     */
    size_t classes;
    /**
     * The predicted class: its place among the labels, from 0.
     */
    size_t index;
    /**
     * Its name.
     */
    const char *label;
    /**
     * Its probability, 0 to 1.
     */
    float probability;
    /**
     * The probability of each class, in the order of the labels. A model with one score has two classes, of which the score is
     * the second's.
     */
    const float *probabilities;
    /**
     * What the graph gave for each class, in the same order: logits or probabilities, as `output` of the model's information
     * says; of a model of features, those.
     */
    const float *scores;
    /**
     * The places of all classes, the predicted one first, then by probability, the largest first.
     */
    const size_t *ranking;
    /**
     * The places of the classes that the image has, the most probable first: where classes exclude each other the predicted one,
     * else those whose probability exceeds their threshold, any number of them.
     */
    const size_t *chosen;
    /**
     * Number of classes that the image has.
     */
    size_t chosen_count;
    /**
     * Seconds from the image to the model's input; in a batch, this image's share of it.
     */
    double preprocess_seconds;
    /**
     * Seconds in the graph; in a batch, this image's share of it.
     */
    double inference_seconds;
} kiln_prediction;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the version of the library, such as "0.2.0".
 */
const char *kiln_version(void);

/**
 * Loads a model from its file, and puts it into `*model`. A sidecar beside the file (a TOML file with its name) is read as on
 * the command line. `options` may be NULL.
 *
 * Of a model with weights in files beside it those are found by its path.
 *
 * # Safety
 *
 * Pointers are as documented; `model` and `error` point to pointers that may be written, or are NULL.
 */
enum kiln_status kiln_open(const char *path,
                           const struct kiln_options *options,
                           struct kiln_model **model,
                           struct kiln_error **error);

/**
 * Loads a model from the bytes of its file, which are not needed after the call, and puts it into `*model`. `options` may be
 * NULL.
 *
 * # Safety
 *
 * Pointers are as documented; `model` and `error` point to pointers that may be written, or are NULL.
 */
enum kiln_status kiln_open_bytes(const void *data,
                                 size_t size,
                                 const struct kiln_options *options,
                                 struct kiln_model **model,
                                 struct kiln_error **error);

/**
 * Frees a model, and waits for its threads to end. NULL is fine. No other thread may be using it.
 *
 * # Safety
 *
 * `model` is NULL, or comes from a function of this library, was not freed, and is not used any more.
 */
void kiln_free(struct kiln_model *model);

/**
 * Returns what is known of a model, valid until it is freed. Of NULL it is NULL.
 *
 * # Safety
 *
 * `model` is NULL, or comes from a function of this library and was not freed.
 */
const struct kiln_model_info *kiln_info(const struct kiln_model *model);

/**
 * Replays the golden vectors of a model's file, from raw pixels to scores: proves that this machine, with this engine, computes
 * what the program did that made the file. KILN_STATUS_VERIFICATION where scores differ by more than the file allows, or the
 * file has no vectors.
 *
 * `difference` may be NULL; else `*difference` is set to the largest difference of a score, as a share of what its vector
 * allows: up to 1 passes. It is NaN where nothing was replayed.
 *
 * # Safety
 *
 * Pointers are as documented; `difference` and `error` may be written, or are NULL.
 */
enum kiln_status kiln_verify(const struct kiln_model *model,
                             double *difference,
                             struct kiln_error **error);

/**
 * Classifies an image file, and puts results of one image into `*results`.
 *
 * # Safety
 *
 * Pointers are as documented; `results` and `error` point to pointers that may be written, or are NULL.
 */
enum kiln_status kiln_classify_file(const struct kiln_model *model,
                                    const char *path,
                                    struct kiln_results **results,
                                    struct kiln_error **error);

/**
 * Classifies an image file in memory (PNG, JPEG, BMP, WebP, TIFF or GIF), and puts results of one image into `*results`.
 *
 * # Safety
 *
 * Pointers are as documented; `results` and `error` point to pointers that may be written, or are NULL.
 */
enum kiln_status kiln_classify_bytes(const struct kiln_model *model,
                                     const void *data,
                                     size_t size,
                                     struct kiln_results **results,
                                     struct kiln_error **error);

/**
 * Classifies pixels, and puts results of one image into `*results`. They are `size` bytes, rows from the top, pixels from the
 * left, the channels of a pixel together, without gaps: height x width x channels of them. 1 channel is gray, 2 are gray and
 * alpha, 3 red, green and blue, 4 those and alpha. The image may have any size: it is resized as the model's record says.
 *
 * # Safety
 *
 * Pointers are as documented; `results` and `error` point to pointers that may be written, or are NULL.
 */
enum kiln_status kiln_classify_pixels(const struct kiln_model *model,
                                      const void *pixels,
                                      size_t size,
                                      uint32_t height,
                                      uint32_t width,
                                      uint32_t channels,
                                      struct kiln_results **results,
                                      struct kiln_error **error);

/**
 * Classifies any number of images on all threads of the model, and puts as many results, in the order of the images, into
 * `*results`. An image that cannot be read or prepared does not end the call: its result has the reason.
 *
 * # Safety
 *
 * Pointers are as documented; `results` and `error` point to pointers that may be written, or are NULL.
 */
enum kiln_status kiln_classify_batch(const struct kiln_model *model,
                                     const struct kiln_image *images,
                                     size_t count,
                                     struct kiln_results **results,
                                     struct kiln_error **error);

/**
 * Returns the number of images that results are of. Of NULL it is 0.
 *
 * # Safety
 *
 * `results` is NULL, or comes from a function of this library and was not freed.
 */
size_t kiln_results_count(const struct kiln_results *results);

/**
 * Returns what came of one image, counted from 0, valid until the results are freed. NULL where there is no such image.
 *
 * # Safety
 *
 * `results` is NULL, or comes from a function of this library and was not freed.
 */
const struct kiln_prediction *kiln_results_get(const struct kiln_results *results, size_t image);

/**
 * Frees results. NULL is fine.
 *
 * # Safety
 *
 * `results` is NULL, or comes from a function of this library, was not freed, and is not used any more.
 */
void kiln_results_free(struct kiln_results *results);

/**
 * Returns the message of an error: a sentence without a full stop, valid until the error is freed. Of NULL it is "".
 *
 * # Safety
 *
 * `error` is NULL, or comes from a function of this library and was not freed.
 */
const char *kiln_error_message(const struct kiln_error *error);

/**
 * Frees an error. NULL is fine.
 *
 * # Safety
 *
 * `error` is NULL, or comes from a function of this library, was not freed, and is not used any more.
 */
void kiln_error_free(struct kiln_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KILN_H */
