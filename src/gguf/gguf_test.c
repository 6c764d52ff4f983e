/* The GGUF reader: what it reads, what it refuses and how, and that a large file costs no more than
 * its length. Hostile files lie in fuzz/corpus/gguf. */
#include "gguf/gguf.h"
#include "gguf/gguf_write.h"

#include "base/mem.h"
#include "os/file.h"

#include <dirent.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { TEST_MAX = 300 << 20 };

struct memory {
    const char *p;
    size_t n;
    size_t fail_at;  /* reads that touch this offset fail; 0: none */
    size_t short_at; /* the file ends here although its size says otherwise; 0: not */
};

static int64_t read_memory(void *ctx, uint64_t off, void *dst, size_t n, struct err *err)
{
    const struct memory *m = ctx;
    size_t end = m->short_at ? m->short_at : m->n;
    if (m->fail_at && off + n > m->fail_at)
        return err_set(err, ERR_IO, "the disk is on fire");
    if (off > end)
        return 0;
    if (n > end - off)
        n = end - off;
    memcpy(dst, m->p + off, n);
    return (int64_t)n;
}

static struct gguf *open_memory(struct memory *m, bool header_only, struct err *err)
{
    struct gguf_source src = {
        .read_at = read_memory, .ctx = m, .size = m->n, .header_only = header_only};
    return gguf_open(&src, err);
}

static struct gguf *open_buf(const struct buf *b, bool header_only, struct err *err)
{
    struct memory m = {.p = b->p, .n = b->n};
    return open_memory(&m, header_only, err);
}

/* A header with one of everything; tensors need 32 + 144 + 64 padded bytes. */
static void write_sample(struct buf *b, uint32_t version)
{
    static const uint32_t HEADS[] = {8, 0, 4};
    static const char *const TOKENS[] = {"", "a", "long one"};
    struct gguf_writer w;
    gguf_write_head(&w, b, version, 3, 14);
    gguf_write_str(&w, "general.architecture", "llama");
    gguf_write_u32(&w, "u32", 4000000000u);
    gguf_write_f32(&w, "f32", 0.5f);
    gguf_write_bool(&w, "yes", true);
    gguf_write_u32s(&w, "heads", HEADS, 3);
    gguf_write_strs(&w, "tokens", TOKENS, 3);
    static const struct {
        const char *key;
        uint32_t type, size;
        uint64_t bits;
    } SCALARS[] = {
        {"u8", GGUF_U8, 1, 200},
        {"i8", GGUF_I8, 1, 0xfb},
        {"u16", GGUF_U16, 2, 60000},
        {"i16", GGUF_I16, 2, 32767},
        {"i32", GGUF_I32, 4, 0xffffffff},
        {"u64", GGUF_U64, 8, UINT64_MAX},
        {"i64", GGUF_I64, 8, (uint64_t)1 << 62},
        {"f64", GGUF_F64, 8, 0x3ff8000000000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(SCALARS); i++) {
        gguf_write_key(&w, SCALARS[i].key, SCALARS[i].type);
        gguf_write_le(&w, SCALARS[i].bits, SCALARS[i].size);
    }
    gguf_write_tensor(&w, "norm", 0, 1, (uint64_t[]){8});
    gguf_write_tensor(&w, "matrix", 12, 2, (uint64_t[]){256, 1});
    gguf_write_tensor(&w, "cube", 1, 3, (uint64_t[]){2, 4, 3});
    gguf_write_end(&w);
}

static void test_versions(void **state)
{
    for (uint32_t version = 1; version <= 3; version++) {
        buf_auto struct buf b;
        struct err err = {0};
        uint64_t u = 0;
        double f = 0;
        bool yes = false;
        struct str s;
        enum gguf_value_type elem;
        buf_init(&b, 1 << 20);
        write_sample(&b, version);
        struct gguf *g = open_buf(&b, true, &err);
        if (!g)
            fail_msg("version %u: %s", version, err.msg);
        assert_int_equal(gguf_version(g), version);
        assert_int_equal(gguf_n_kv(g), 14);
        assert_int_equal(gguf_n_tensors(g), 3);
        assert_int_equal(gguf_n_shards(g), 1);
        assert_int_equal(gguf_data_offset(g), b.n);
        assert_int_equal(gguf_tensor_bytes(g), 32 + 160 + 64);
        assert_int_equal(gguf_file_bytes(g), b.n + 32 + 160 + 48);
        assert_true(gguf_get_str(g, "general.architecture", &s) && str_eq(s, STR("llama")));
        assert_true(gguf_get_u64(g, "u32", &u) && u == 4000000000u);
        assert_true(gguf_get_u64(g, "u8", &u) && u == 200);
        assert_true(gguf_get_u64(g, "u16", &u) && u == 60000);
        assert_true(gguf_get_u64(g, "i16", &u) && u == 32767);
        assert_true(gguf_get_u64(g, "u64", &u) && u == UINT64_MAX);
        assert_true(gguf_get_u64(g, "i64", &u) && u == (uint64_t)1 << 62);
        assert_false(gguf_get_u64(g, "i8", &u)); /* -5 */
        assert_false(gguf_get_u64(g, "i32", &u));
        assert_false(gguf_get_u64(g, "f32", &u));
        assert_false(gguf_get_u64(g, "yes", &u));
        assert_false(gguf_get_u64(g, "absent", &u));
        assert_true(gguf_get_f64(g, "f32", &f) && f == 0.5);
        assert_true(gguf_get_f64(g, "f64", &f) && f == 1.5);
        assert_false(gguf_get_f64(g, "u32", &f));
        assert_true(gguf_get_bool(g, "yes", &yes) && yes);
        assert_false(gguf_get_bool(g, "u8", &yes));
        assert_true(gguf_get_array(g, "heads", &elem, &u) && elem == GGUF_U32 && u == 3);
        assert_true(gguf_get_array_u64(g, "heads", 2, &u) && u == 4);
        assert_false(gguf_get_array_u64(g, "heads", 3, &u));
        assert_true(gguf_get_array(g, "tokens", &elem, &u) && elem == GGUF_STR && u == 3);
        assert_false(gguf_get_array_u64(g, "tokens", 0, &u));
        const struct gguf_tensor *t = gguf_find_tensor(g, "cube");
        assert_ptr_equal(t, gguf_tensor(g, 2));
        assert_int_equal(t->n_dims, 3);
        assert_int_equal(t->ne[1], 4);
        assert_int_equal(t->ne[3], 1);
        assert_int_equal(t->offset, 192);
        assert_int_equal(t->bytes, 48);
        assert_null(gguf_find_tensor(g, "cub"));
        assert_null(gguf_tensor(g, 3));
        gguf_free(g);
    }
}

static void test_types(void **state)
{
    static const struct {
        uint32_t id;
        const char *name;
        uint32_t elems, bytes;
    } CASES[] = {
        {0, "f32", 1, 4},       {8, "q8_0", 32, 34},    {12, "q4_K", 256, 144},
        {15, "q8_K", 256, 292}, {19, "iq1_s", 256, 50}, {30, "bf16", 1, 2},
        {35, "tq2_0", 256, 66}, {39, "mxfp4", 32, 17},  {40, "nvfp4", 64, 36},
        {41, "q1_0", 128, 18},  {42, "q2_0", 64, 18},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct gguf_type_info *t = gguf_type(CASES[i].id);
        assert_non_null(t);
        assert_string_equal(t->name, CASES[i].name);
        assert_int_equal(t->block_elems, CASES[i].elems);
        assert_int_equal(t->block_bytes, CASES[i].bytes);
    }
    static const uint32_t NONE[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(NONE); i++)
        assert_null(gguf_type(NONE[i]));
}

static void test_split_names(void **state)
{
    static const struct {
        const char *path;
        bool yes;
        uint32_t no, count;
        const char *third;
    } CASES[] = {
        {"/m/a-00002-of-00005.gguf", true, 1, 5, "/m/a-00003-of-00005.gguf"},
        {"-00001-of-00003.gguf", true, 0, 3, "-00003-of-00003.gguf"},
        {"h-00001-of-00003.ggufh", true, 0, 3, "h-00003-of-00003.ggufh"},
        {"a.gguf", false, 0, 0, "a.gguf"},
        {"a-00000-of-00005.gguf", false, 0, 0, "a-00000-of-00005.gguf"},
        {"a-00006-of-00005.gguf", false, 0, 0, "a-00006-of-00005.gguf"},
        {"a-0001-of-00005.gguf", false, 0, 0, "a-0001-of-00005.gguf"},
        {"a-00001-of-00005.bin", false, 0, 0, "a-00001-of-00005.bin"},
        {"", false, 0, 0, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        uint32_t no = 0, count = 0;
        char name[64];
        assert_int_equal(gguf_split_name(CASES[i].path, &no, &count), CASES[i].yes);
        assert_int_equal(no, CASES[i].no);
        assert_int_equal(count, CASES[i].count);
        gguf_shard_name(CASES[i].path, 2, name, sizeof name);
        assert_string_equal(name, CASES[i].third);
    }
}

/* Cut anywhere, a file is refused with a fault inside it; with all its bytes it is read. */
static void test_truncation(void **state)
{
    for (uint32_t version = 1; version <= 3; version++) {
        buf_auto struct buf b;
        buf_init(&b, 1 << 20);
        write_sample(&b, version);
        size_t header = b.n;
        while (b.n < header + 32 + 160 + 48)
            buf_addc(&b, 1);
        for (size_t n = 0; n <= b.n; n++) {
            struct err err = {0};
            mem_auto char *exact =
                mem_calloc(n + 1, 1); /* so that a sanitizer sees a read beyond */
            memcpy(exact, b.p, n);
            struct memory m = {.p = exact, .n = n};
            struct gguf *g = open_memory(&m, false, &err);
            if ((g != NULL) != (n == b.n))
                fail_msg("version %u cut to %zu of %zu bytes: %s", version, n, b.n, err.msg);
            if (!g)
                assert_int_equal(err.code, ERR_CORRUPT);
            gguf_free(g);
            g = open_memory(&m, true, &err);
            if (g) /* only the padding may be missing */
                assert_true(n + 31 >= header);
            gguf_free(g);
        }
    }
}

static void test_read_faults(void **state)
{
    buf_auto struct buf b;
    buf_init(&b, 1 << 20);
    write_sample(&b, 3);
    struct err err = {0};
    struct memory m = {.p = b.p, .n = b.n, .fail_at = 100};
    assert_null(open_memory(&m, true, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.msg, "on fire"));
    m = (struct memory){.p = b.p, .n = b.n, .short_at = 100};
    assert_null(open_memory(&m, true, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.msg, "shrank"));
    assert_null(open_memory(&m, true, NULL)); /* err may be NULL */
}

/* Tensors out of order are read as long as none shares a byte. */
static void test_order(void **state)
{
    for (int overlap = 0; overlap < 2; overlap++) {
        buf_auto struct buf b;
        struct gguf_writer w;
        struct err err = {0};
        buf_init(&b, 1 << 20);
        gguf_write_head(&w, &b, 3, 3, 0);
        for (unsigned i = 0; i < 3; i++) {
            char name[2] = {(char)('a' + i), 0};
            w.offset = 64 * (2 - i);
            gguf_write_tensor(&w, name, 0, 1, (uint64_t[]){i == 2 && overlap ? 17 : 16});
        }
        gguf_write_end(&w);
        struct gguf *g = open_buf(&b, true, &err);
        assert_int_equal(g != NULL, !overlap);
        if (overlap)
            assert_non_null(strstr(err.msg, "tensors c and b overlap"));
        gguf_free(g);
    }
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* The most that the format allows of everything, in time and memory that grow with the file. */
static void test_a_million_tensors(void **state)
{
    buf_auto struct buf b;
    struct gguf_writer w;
    struct err err = {0};
    char name[32];
    buf_init(&b, TEST_MAX);
    gguf_write_head(&w, &b, 3, GGUF_MAX_TENSORS, GGUF_MAX_KV);
    for (unsigned i = 0; i < GGUF_MAX_KV; i++) {
        snprintf(name, sizeof name, "key.%u", i);
        gguf_write_bool(&w, name, true);
    }
    for (unsigned i = 0; i < GGUF_MAX_TENSORS; i++) {
        snprintf(name, sizeof name, "t%u", i);
        w.offset = (uint64_t)(GGUF_MAX_TENSORS - i) * 32; /* the order that costs most */
        gguf_write_tensor(&w, name, 0, 1, (uint64_t[]){8});
    }
    gguf_write_end(&w);
    size_t before = heap_bytes();
    double start = cpu_seconds();
    struct gguf *g = open_buf(&b, true, &err);
    double took = cpu_seconds() - start;
    size_t used = heap_bytes() - before;
    if (!g)
        fail_msg("%s", err.msg);
    print_message("# %d tensors and %d keys, %zu MiB of header: %.2f s, %zu MiB\n",
                  GGUF_MAX_TENSORS, GGUF_MAX_KV, b.n >> 20, took, used >> 20);
    assert_non_null(gguf_find_tensor(g, "t1048575"));
    assert_true(took < 20);
    assert_true(used < 4 * b.n + (64 << 20));
    gguf_free(g);
}

/* A vocabulary is measured, not kept. */
static void test_vocabulary(void **state)
{
    enum { N = 400000 };
    buf_auto struct buf b;
    struct gguf_writer w;
    struct err err = {0};
    buf_init(&b, TEST_MAX);
    gguf_write_head(&w, &b, 3, 0, 3);
    gguf_write_key(&w, "tokenizer.ggml.tokens", GGUF_ARR);
    gguf_write_le(&w, GGUF_STR, 4);
    gguf_write_count(&w, N);
    for (unsigned i = 0; i < N; i++) {
        gguf_write_count(&w, 16);
        buf_adds(&b, "0123456789abcdef");
    }
    gguf_write_key(&w, "tokenizer.ggml.scores", GGUF_ARR);
    gguf_write_le(&w, GGUF_F32, 4);
    gguf_write_count(&w, N);
    for (unsigned i = 0; i < N; i++)
        gguf_write_le(&w, i, 4);
    gguf_write_u32(&w, "after", 7);
    size_t before = heap_bytes();
    struct gguf *g = open_buf(&b, true, &err);
    if (!g)
        fail_msg("%s", err.msg);
    uint64_t n;
    enum gguf_value_type elem;
    assert_true(heap_bytes() - before < 256 << 10);
    assert_true(gguf_get_array(g, "tokenizer.ggml.tokens", &elem, &n) && n == N);
    assert_true(gguf_get_array(g, "tokenizer.ggml.scores", &elem, &n) && n == N);
    assert_false(gguf_get_array_u64(g, "tokenizer.ggml.scores", 1, &n));
    assert_true(gguf_get_u64(g, "after", &n) && n == 7);
    gguf_free(g);
}

/* Of the seeds for known bugs only these are files that may be read: they were made to be valid,
 * or what is odd in them is not the reader's business. */
static bool may_open(const char *name)
{
    static const char *const PREFIXES[] = {
        "valid-",
        "key-",
        "vocab-",
        "block-",
        "heads-",
        "nextn-",
        "window-",
        "type-",
        "arch-",
        "name-hostile",
        "no-keys",
        "shards-same-name",
        "tensor-name-63",
        "cve-2024-34359",
        "ggml-pr-1516-align-8",
        "cve-2024-32878-cut-5183",
    };
    static const char *const NOT[] = {"key-empty", "key-nul", "key-twice-differs",
                                      "key-twice-other-type"};
    for (size_t i = 0; i < ARRAY_LEN(NOT); i++)
        if (strcmp(name, NOT[i]) == 0)
            return false;
    for (size_t i = 0; i < ARRAY_LEN(PREFIXES); i++)
        if (strncmp(name, PREFIXES[i], strlen(PREFIXES[i])) == 0)
            return true;
    return false;
}

static void test_known_bugs(void **state)
{
    const char *root = getenv("STOWAGE_SOURCE");
    mem_auto char *folder = mem_printf("%s/fuzz/corpus/gguf", root ? root : "..");
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    unsigned n_files = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        mem_auto char *path = mem_printf("%s/%s", folder, e->d_name), *data = NULL;
        struct err err = {0};
        size_t n;
        assert_int_equal(file_read(path, 1 << 20, &data, &n, &err), 0);
        struct memory m = {.p = data, .n = n};
        struct gguf *g = open_memory(&m, false, &err);
        if ((g != NULL) != may_open(e->d_name))
            fail_msg("%s: %s", e->d_name, g ? "was read" : err.msg);
        gguf_free(g);
        n_files++;
    }
    closedir(dir);
    assert_true(n_files > 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),          cmocka_unit_test(test_types),
        cmocka_unit_test(test_split_names),       cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_read_faults),       cmocka_unit_test(test_order),
        cmocka_unit_test(test_a_million_tensors), cmocka_unit_test(test_vocabulary),
        cmocka_unit_test(test_known_bugs),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
