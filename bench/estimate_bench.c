/* Time to turn the header of a 671B model into facts and bytes per layer, without and with a
 * vocabulary of 128 k tokens. usage: estimate_bench HEADER.ggufh */
#include "arch/arch.h"
#include "base/mem.h"
#include "estimate/estimate.h"
#include "gguf/gguf.h"
#include "gguf/gguf_build.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 400, HEADER_MAX = 64 << 20, VOCABULARY = 128 << 10 };

static int64_t read_buf(void *ctx, uint64_t off, void *dst, size_t n, struct err *err)
{
    const struct str *s = ctx;
    memcpy(dst, s->p + off, n);
    return (int64_t)n;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const char *what, struct str bytes, int rounds)
{
    double parse[ROUNDS], facts[ROUNDS], estimate[ROUNDS];
    struct estimate_opts o = {.ctx = 8192, .n_slots = 1, .ubatch = 512};
    struct gguf_source src = {
        .read_at = read_buf, .ctx = &bytes, .size = bytes.n, .header_only = true};
    for (int i = 0; i < rounds; i++) {
        struct err err = {0};
        double t0 = now();
        struct gguf *g = gguf_open(&src, &err);
        double t1 = now();
        struct arch_facts *f = g ? arch_from_gguf(g, &err) : NULL;
        double t2 = now();
        struct estimate_model *m = f ? estimate_new(f, &o, &err) : NULL;
        double t3 = now();
        if (!m) {
            fprintf(stderr, "%s: %s\n", what, err.msg);
            exit(1);
        }
        parse[i] = t1 - t0;
        facts[i] = t2 - t1;
        estimate[i] = t3 - t2;
        estimate_free(m);
        arch_free(f);
        gguf_free(g);
    }
    double *sets[] = {parse, facts, estimate};
    double total = 0, best = 0;
    for (int k = 0; k < 3; k++) {
        qsort(sets[k], (size_t)rounds, sizeof(double), by_value);
        total += sets[k][rounds / 2];
        best += sets[k][0];
    }
    printf("%-21s %7zu bytes: parse %7.1f us, facts %5.1f us, estimate %4.1f us, all %7.1f us "
           "(best %.1f)\n",
           what, bytes.n, parse[rounds / 2] * 1e6, facts[rounds / 2] * 1e6,
           estimate[rounds / 2] * 1e6, total * 1e6, best * 1e6);
}

static bool keep_all(const char *key, size_t n)
{
    return true;
}

/* The same header with a vocabulary in it. */
static int add_vocabulary(struct str header, struct buf *out, struct err *err)
{
    struct gguf_source src = {
        .read_at = read_buf, .ctx = &header, .size = header.n, .header_only = true};
    struct gguf *g = gguf_open(&src, err);
    struct gguf_builder *w = gguf_builder_new();
    size_t end;
    int rc = g ? gguf_copy_keys(w, header.p, header.n, keep_all, &end, err) : -1;
    if (rc == 0) {
        char text[40];
        gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_STR, VOCABULARY);
        for (int i = 0; i < VOCABULARY; i++) {
            snprintf(text, sizeof text, "token %d", i);
            gguf_elem_str(w, text);
        }
        gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, VOCABULARY);
        for (int i = 0; i < VOCABULARY; i++)
            gguf_elem_i32(w, 1);
        gguf_put_array(w, "tokenizer.ggml.merges", GGUF_STR, VOCABULARY);
        for (int i = 0; i < VOCABULARY; i++) {
            snprintf(text, sizeof text, "some longer pair of pieces %d", i);
            gguf_elem_str(w, text);
        }
        for (uint32_t i = 0; i < gguf_n_tensors(g); i++) {
            const struct gguf_tensor *t = gguf_tensor(g, i);
            gguf_put_tensor(w, t->name, t->type, t->n_dims, t->ne);
        }
        rc = gguf_build_header(w, out, err);
    }
    gguf_builder_free(w);
    gguf_free(g);
    return rc;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    mem_auto char *bytes = NULL;
    size_t n;
    if (argc != 2 || file_read(argv[1], HEADER_MAX, &bytes, &n, &err) < 0) {
        fprintf(stderr, "usage: estimate_bench HEADER.ggufh\n%s\n", err.msg);
        return 2;
    }
    measure("without a vocabulary", (struct str){bytes, n}, ROUNDS);
    buf_auto struct buf with;
    buf_init(&with, HEADER_MAX);
    if (add_vocabulary((struct str){bytes, n}, &with, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    measure("with 128 k tokens", (struct str){with.p, with.n}, 20);
    return 0;
}
