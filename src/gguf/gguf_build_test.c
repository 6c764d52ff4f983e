/* What the builder writes, the reader reads; and keys are copied from one header to another. */
#include "gguf/gguf_build.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int64_t read_memory(void *ctx, uint64_t off, void *dst, size_t n, struct err *err)
{
    const struct buf *b = ctx;
    if (off >= b->n)
        return 0;
    n = n > b->n - off ? b->n - (size_t)off : n;
    memcpy(dst, b->p + off, n);
    return (int64_t)n;
}

static struct gguf *open_buf(struct buf *b, struct err *err)
{
    struct gguf_source src = {read_memory, b, b->n, true};
    return gguf_open(&src, err);
}

static void fill(struct gguf_builder *w)
{
    gguf_put_str(w, "general.architecture", "llama");
    gguf_put_u32(w, "llama.block_count", 3);
    gguf_put_f32(w, "llama.rope.freq_base", 10000.0f);
    gguf_put_bool(w, "some.flag", true);
    gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_STR, 2);
    gguf_elem_str(w, "a");
    gguf_elem_str(w, "");
    gguf_put_array(w, "tokenizer.ggml.scores", GGUF_F32, 2);
    gguf_elem_f32(w, -1.0f);
    gguf_elem_f32(w, 0.0f);
    gguf_put_array(w, "numbers", GGUF_I32, 2);
    gguf_elem_i32(w, 7);
    gguf_elem_i32(w, 9);
    gguf_put_tensor(w, "first", 8, 2, (uint64_t[]){64, 3}); /* q8_0: 2 blocks of 34 bytes, 3 rows */
    gguf_put_tensor(w, "second", 0, 1, (uint64_t[]){5});
}

static void test_round_trip(void **state)
{
    struct gguf_builder *w = gguf_builder_new();
    buf_auto struct buf b;
    struct err err = {0};
    struct str text;
    uint64_t n;
    double f;
    bool flag;
    buf_init(&b, 1 << 20);
    fill(w);
    assert_int_equal(gguf_build_header(w, &b, &err), 0);
    assert_int_equal(b.n % GGUF_BUILD_ALIGN, 0);
    struct gguf *g = open_buf(&b, &err);
    if (!g)
        fail_msg("%s", err.msg);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_n_kv(g), 7);
    assert_true(gguf_get_str(g, "general.architecture", &text) && str_eq(text, STR("llama")));
    assert_true(gguf_get_u64(g, "llama.block_count", &n) && n == 3);
    assert_true(gguf_get_f64(g, "llama.rope.freq_base", &f) && f == 10000.0);
    assert_true(gguf_get_bool(g, "some.flag", &flag) && flag);
    assert_true(gguf_get_array_u64(g, "numbers", 1, &n) && n == 9);
    const struct gguf_tensor *first = gguf_find_tensor(g, "first");
    const struct gguf_tensor *second = gguf_find_tensor(g, "second");
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(first->bytes, 3 * 2 * 34);
    assert_int_equal(first->offset, 0);
    assert_int_equal(second->offset, 224); /* 204 rounded up to 32 */
    assert_int_equal(second->bytes, 20);
    assert_int_equal(gguf_builder_offset(w, 1), second->offset);
    assert_int_equal(gguf_builder_data(w), 224 + 32);
    assert_int_equal(gguf_data_offset(g), b.n);
    gguf_free(g);
    gguf_builder_free(w);
}

static bool no_tokenizer(const char *key, size_t n)
{
    return !str_starts((struct str){key, n}, STR("tokenizer."));
}

static void test_copy_keys(void **state)
{
    struct gguf_builder *w = gguf_builder_new(), *copy = gguf_builder_new();
    buf_auto struct buf b, c;
    struct err err = {0};
    size_t end;
    buf_init(&b, 1 << 20);
    buf_init(&c, 1 << 20);
    fill(w);
    assert_int_equal(gguf_build_header(w, &b, &err), 0);
    assert_int_equal(gguf_copy_keys(copy, b.p, b.n, no_tokenizer, &end, &err), 0);
    /* Behind the keys comes the first tensor: a length of 5 and its name. */
    assert_memory_equal(b.p + end, "\5\0\0\0\0\0\0\0first", 13);
    gguf_put_u32(copy, "added", 1);
    assert_int_equal(gguf_build_header(copy, &c, &err), 0);
    struct gguf *g = open_buf(&c, &err);
    if (!g)
        fail_msg("%s", err.msg);
    uint64_t n;
    enum gguf_value_type elem;
    assert_int_equal(gguf_n_kv(g), 6);
    assert_true(gguf_get_array_u64(g, "numbers", 0, &n) && n == 7);
    assert_true(gguf_get_u64(g, "added", &n) && n == 1);
    assert_false(gguf_get_array(g, "tokenizer.ggml.tokens", &elem, &n));
    gguf_free(g);
    /* Cut anywhere in the keys: refused, never read past the end. */
    for (size_t cut = 0; cut < end; cut++) {
        mem_auto char *exact = mem_strndup(b.p, cut);
        struct gguf_builder *x = gguf_builder_new();
        size_t at;
        assert_int_equal(gguf_copy_keys(x, exact, cut, no_tokenizer, &at, &err), -1);
        gguf_builder_free(x);
    }
    gguf_builder_free(w);
    gguf_builder_free(copy);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name, *says;
        uint32_t type, n_dims;
        uint64_t ne[4];
    } CASES[] = {
        {"row", "blocks", 8, 2, {33, 2, 1, 1}},
        {"type", "unknown type", 4, 1, {32, 1, 1, 1}},
        {"dims", "blocks", 0, 5, {1, 1, 1, 1}},
        {"none", "out of range", 0, 2, {4, 0, 1, 1}},
        {"huge", "out of range", 0, 3, {1u << 31, 1u << 31, 4, 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct gguf_builder *w = gguf_builder_new();
        buf_auto struct buf b;
        struct err err = {0};
        buf_init(&b, 1 << 20);
        gguf_put_tensor(w, CASES[i].name, CASES[i].type, CASES[i].n_dims, CASES[i].ne);
        assert_int_equal(gguf_build_header(w, &b, &err), -1);
        if (err.code != ERR_INVALID || !strstr(err.msg, CASES[i].name) ||
            !strstr(err.msg, CASES[i].says))
            fail_msg("%s: %s", CASES[i].name, err.msg);
        gguf_builder_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_copy_keys),
        cmocka_unit_test(test_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
