/*
 * One model, many threads: threads MODEL.onnx THREADS IMAGE...
 *
 * Classifies every image on the main thread, then all images on each thread, beginning at different ones, and compares: each
 * answer has to be that of its own image, to the last bit.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kiln.h"

typedef struct {
    const kiln_model *model;
    char **paths;
    size_t count;
    /* What the main thread found: for each image so many probabilities. */
    const float *expected;
    size_t classes;
    /* Where this thread begins, and the number of answers that are others. */
    size_t first;
    size_t wrong;
} job;

/* Classifies one image, and copies its probabilities. */
static int classify(const kiln_model *model, const char *path, float *probabilities) {
    kiln_results *results = NULL;
    kiln_error *error = NULL;
    if (kiln_classify_file(model, path, &results, &error) != KILN_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", path, kiln_error_message(error));
        kiln_error_free(error);
        return 0;
    }
    const kiln_prediction *prediction = kiln_results_get(results, 0);
    memcpy(probabilities, prediction->probabilities, prediction->classes * sizeof(float));
    kiln_results_free(results);
    return 1;
}

static void *work(void *argument) {
    job *mine = argument;
    float *found = calloc(mine->classes, sizeof(float));
    for (size_t i = 0; found != NULL && i < mine->count; i++) {
        size_t at = (mine->first + i) % mine->count;
        const float *expected = mine->expected + at * mine->classes;
        if (!classify(mine->model, mine->paths[at], found) || memcmp(found, expected, mine->classes * sizeof(float)) != 0) {
            mine->wrong++;
        }
    }
    if (found == NULL) {
        mine->wrong = mine->count;
    }
    free(found);
    return NULL;
}

int main(int argc, char **argv) {
    size_t threads = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (argc < 4 || threads == 0) {
        fprintf(stderr, "usage: %s MODEL.onnx THREADS IMAGE...\n", argv[0]);
        return 2;
    }
    char **paths = argv + 3;
    size_t count = (size_t)argc - 3;

    /* The program has the threads, so the model needs one. */
    kiln_options options = {0};
    options.size = sizeof options;
    options.threads = 1;
    kiln_model *model = NULL;
    kiln_error *error = NULL;
    if (kiln_open(argv[1], &options, &model, &error) != KILN_STATUS_OK) {
        fprintf(stderr, "%s\n", kiln_error_message(error));
        kiln_error_free(error);
        return 1;
    }
    size_t classes = kiln_info(model)->classes;
    float *expected = calloc(count * classes, sizeof(float));
    job *jobs = calloc(threads, sizeof(job));
    pthread_t *handles = calloc(threads, sizeof(pthread_t));
    size_t wrong = 0;
    size_t started = 0;
    if (expected == NULL || jobs == NULL || handles == NULL) {
        wrong = count;
    }
    for (size_t i = 0; wrong == 0 && i < count; i++) {
        wrong += !classify(model, paths[i], expected + i * classes);
    }
    for (; wrong == 0 && started < threads; started++) {
        jobs[started] = (job){model, paths, count, expected, classes, started * 7 % count, 0};
        if (pthread_create(&handles[started], NULL, work, &jobs[started]) != 0) {
            wrong = 1;
            break;
        }
    }
    for (size_t i = 0; i < started; i++) {
        pthread_join(handles[i], NULL);
        wrong += jobs[i].wrong;
    }
    printf("%zu threads, %zu images each: %zu answers that are not the image's\n", started, count, wrong);
    free(handles);
    free(jobs);
    free(expected);
    kiln_free(model);
    return wrong == 0 ? 0 : 1;
}
