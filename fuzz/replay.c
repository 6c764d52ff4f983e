/* Runs a fuzz target over its corpus without a fuzzer: every file of the folders given, and every
 * prefix of those named valid-*. An input that takes too long fails, as a hang would. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INPUT_BYTES_MAX = 64 << 20, PREFIXES_MAX = 16 << 10 };
#define MAX_SECONDS 10.0 /* per input; a sanitizer build on a busy machine is slow */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* The input is copied to its exact size, so that a sanitizer sees a read behind it. */
static bool run_one(const uint8_t *data, size_t n, const char *name)
{
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact)
        return false;
    memcpy(exact, data, n);
    double start = cpu_seconds();
    LLVMFuzzerTestOneInput(exact, n);
    double took = cpu_seconds() - start;
    free(exact);
    if (took <= MAX_SECONDS)
        return true;
    fprintf(stderr, "%s (%zu bytes) took %.1f s of CPU time\n", name, n, took);
    return false;
}

static bool run_file(const char *path, unsigned *n_runs)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    if (!f || !data) {
        perror(path);
        exit(1);
    }
    size_t n = fread(data, 1, INPUT_BYTES_MAX, f);
    fclose(f);
    bool ok = run_one(data, n, path);
    ++*n_runs;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    bool cuts = strncmp(name, "valid-", 6) == 0 && n <= PREFIXES_MAX;
    for (size_t cut = 0; ok && cuts && cut < n; cut++, ++*n_runs)
        ok = run_one(data, cut, path);
    free(data);
    return ok;
}

int main(int argc, char **argv)
{
    unsigned n_files = 0, n_runs = 0;
    bool ok = argc > 1;
    for (int i = 1; i < argc && ok; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            ok = run_file(argv[i], &n_runs);
            n_files++;
            continue;
        }
        for (struct dirent *e; ok && (e = readdir(dir));) {
            char path[4096];
            if (e->d_name[0] == '.')
                continue;
            ok = snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name) < (int)sizeof path &&
                 run_file(path, &n_runs);
            n_files++;
        }
        closedir(dir);
    }
    printf("%u files, %u inputs%s\n", n_files, n_runs, ok ? "" : ": failed");
    return ok && n_files ? 0 : 1;
}
