/*
 * Memory that grows: again MODEL.onnx ROUNDS IMAGE...
 *
 * Opens the model, classifies the images one by one and as a batch, makes an error, and frees all of it, so many rounds. After the first
 * tenth of them the memory in use may grow by a mebibyte, whatever the number of rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kiln.h"

/* Memory of this process that is in use, in KiB, by Linux's account; 0 where there is none. */
static long resident(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kib = strtol(line + 6, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib;
}

static int once(const char *path, char **paths, size_t count) {
    kiln_options options = {0};
    options.size = sizeof options;
    options.threads = 2;
    kiln_model *model = NULL;
    kiln_error *error = NULL;
    kiln_results *results = NULL;
    int ok = kiln_open(path, &options, &model, &error) == KILN_STATUS_OK;
    for (size_t i = 0; ok && i < count; i++) {
        ok = kiln_classify_file(model, paths[i], &results, &error) == KILN_STATUS_OK;
        kiln_results_free(results);
    }
    kiln_image *images = calloc(count, sizeof(kiln_image));
    for (size_t i = 0; images != NULL && i < count; i++) {
        images[i].path = paths[i];
    }
    ok = ok && images != NULL && kiln_classify_batch(model, images, count, &results, &error) == KILN_STATUS_OK;
    free(images);
    if (ok) {
        kiln_results_free(results);
        ok = kiln_classify_file(model, "no/such.png", &results, &error) == KILN_STATUS_IMAGE;
    }
    if (!ok) {
        fprintf(stderr, "%s\n", kiln_error_message(error));
    }
    kiln_error_free(error);
    kiln_free(model);
    return ok;
}

int main(int argc, char **argv) {
    long rounds = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    long begin = 0;
    for (long round = 0; round < rounds; round++) {
        if (round == rounds / 10) {
            begin = resident();
        }
        if (!once(argv[1], argv + 3, (size_t)argc - 3)) {
            return 1;
        }
    }
    long grown = resident() - begin;
    printf("%ld rounds: %ld KiB in use after a tenth of them, %+ld KiB since\n", rounds, begin, grown);
    return rounds > 0 && begin > 0 && grown < 1024 ? 0 : 1;
}
