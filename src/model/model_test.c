/* Paths to headers: sets of shards under any shard's name, header-only files, what is missing. */
#include "model/model.h"

#include "base/mem.h"
#include "gguf/gguf_build.h"
#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { SHARDS = 3 };

struct folder {
    char path[64];
};

static char *in(const struct folder *d, const char *name)
{
    return mem_printf("%s/%s", d->path, name);
}

/* Shard `no` of `count` of a model of two blocks; count 1: the whole model. */
static void write_part(const struct folder *d, const char *name, uint32_t no, uint32_t count)
{
    struct gguf_builder *w = gguf_builder_new();
    if (no == 0) {
        gguf_put_str(w, "general.architecture", "llama");
        gguf_put_u32(w, "llama.block_count", 2);
        gguf_put_u32(w, "llama.attention.head_count", 8);
    }
    if (count > 1) {
        gguf_put_u32(w, "split.no", no);
        gguf_put_u32(w, "split.count", count);
        gguf_put_u32(w, "split.tensors.count", 3);
    }
    if (no == 0)
        gguf_put_tensor(w, "token_embd.weight", 0, 2, (uint64_t[]){64, 100});
    if (no == 1 || count == 1)
        gguf_put_tensor(w, "blk.0.attn_k.weight", 0, 2, (uint64_t[]){64, 64});
    if (no == 2 || count == 1)
        gguf_put_tensor(w, "blk.1.attn_k.weight", 0, 2, (uint64_t[]){64, 64});
    buf_auto struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(gguf_build_header(w, &b, NULL), 0);
    for (uint64_t n = gguf_builder_data(w); n > 0; n--)
        buf_addc(&b, 0);
    gguf_builder_free(w);
    mem_auto char *path = in(d, name);
    assert_int_equal(file_write(path, b.p, b.n, 0644, NULL), 0);
}

static int setup(void **state)
{
    struct folder *d = mem_calloc(1, sizeof *d);
    STR_COPY(d->path, "/tmp/stowage-model-XXXXXX");
    if (!mkdtemp(d->path))
        return -1;
    write_part(d, "whole.gguf", 0, 1);
    for (uint32_t i = 0; i < SHARDS; i++) {
        char name[64];
        snprintf(name, sizeof name, "set-%05u-of-%05u.gguf", i + 1, SHARDS);
        write_part(d, name, i, SHARDS);
    }
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct folder *d = *state;
    int rc = file_remove_tree(d->path, NULL);
    free(d);
    return rc;
}

static struct gguf *open_ok(const struct folder *d, const char *name, struct model_info *info)
{
    struct err err = {0};
    mem_auto char *path = in(d, name);
    struct gguf *g = model_open(path, info, &err);
    if (!g)
        fail_msg("%s: %s", name, err.msg);
    return g;
}

static void expect_error(const struct folder *d, const char *name, enum err_code code,
                         const char *says)
{
    struct err err = {0};
    mem_auto char *path = in(d, name);
    struct gguf *g = model_open(path, NULL, &err);
    if (g || err.code != code || !strstr(err.msg, says))
        fail_msg("%s: code %d, %s", name, err.code, g ? "opened" : err.msg);
}

static void test_whole(void **state)
{
    const struct folder *d = *state;
    struct model_info info;
    struct stat st;
    struct gguf *g = open_ok(d, "whole.gguf", &info);
    mem_auto char *path = in(d, "whole.gguf");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(info.bytes_on_disk, st.st_size);
    assert_int_equal(info.n_files, 1);
    assert_false(info.header_only);
    assert_int_equal(strlen(info.header_sha256), 64);
    assert_int_equal(gguf_n_tensors(g), 3);
    gguf_free(g);
    struct err err = {0};
    struct arch_facts *f = model_facts(path, NULL, &err);
    assert_non_null(f);
    assert_int_equal(f->n_layers, 2);
    arch_free(f);
}

static void test_set(void **state)
{
    const struct folder *d = *state;
    static const char *const NAMES[] = {"set-00001-of-00003.gguf", "set-00003-of-00003.gguf"};
    char sha[65] = "";
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        struct model_info info;
        struct gguf *g = open_ok(d, NAMES[i], &info);
        assert_int_equal(info.n_files, SHARDS);
        assert_int_equal(gguf_n_tensors(g), 3);
        assert_int_equal(gguf_find_tensor(g, "blk.1.attn_k.weight")->shard, 2);
        assert_int_equal(gguf_file_bytes(g), info.bytes_on_disk);
        if (i)
            assert_string_equal(info.header_sha256,
                                sha); /* of the first file, whichever is named */
        STR_COPY(sha, info.header_sha256);
        gguf_free(g);
    }
}

static void test_broken_sets(void **state)
{
    const struct folder *d = *state;
    mem_auto char *second = in(d, "set-00002-of-00003.gguf"), *away = in(d, "away");
    mem_auto char *first = in(d, "set-00001-of-00003.gguf"), *alone = in(d, "alone.gguf");
    assert_int_equal(rename(second, away), 0);
    expect_error(d, "set-00001-of-00003.gguf", ERR_NOT_FOUND, "set-00002-of-00003.gguf");
    expect_error(d, "set-00003-of-00003.gguf", ERR_NOT_FOUND, "set-00002-of-00003.gguf");
    write_part(d, "set-00002-of-00003.gguf", 2, SHARDS);
    expect_error(d, "set-00001-of-00003.gguf", ERR_CORRUPT, "shards mixed up");
    write_part(d, "set-00002-of-00003.gguf", 1, 2);
    expect_error(d, "set-00001-of-00003.gguf", ERR_CORRUPT, "split.count is 2 here and 3");
    write_part(d, "set-00002-of-00003.gguf", 0, 1);
    expect_error(d, "set-00001-of-00003.gguf", ERR_CORRUPT, "split.count is 1 here and 3");
    assert_int_equal(rename(away, second), 0);
    assert_int_equal(rename(first, alone), 0);
    expect_error(d, "alone.gguf", ERR_CORRUPT, "rename it back");
    expect_error(d, "set-00002-of-00003.gguf", ERR_NOT_FOUND, "set-00001-of-00003.gguf");
    assert_int_equal(rename(alone, first), 0);
}

static void test_headers(void **state)
{
    const struct folder *d = *state;
    struct err err = {0};
    struct model_info info, full;
    mem_auto char *whole = in(d, "whole.gguf"), *out = in(d, "whole.ggufh");
    mem_auto char *set = in(d, "set-00002-of-00003.gguf"), *set_out = in(d, "h.ggufh");
    mem_auto char *bad = in(d, "h.gguf"), *plain = in(d, "cut-at-data.gguf");
    gguf_free(open_ok(d, "whole.gguf", &full));
    assert_int_equal(model_save_header(whole, out, &err), 0);
    struct gguf *g = open_ok(d, "whole.ggufh", &info);
    assert_true(info.header_only);
    assert_string_equal(info.header_sha256, full.header_sha256);
    assert_int_equal(gguf_data_offset(g), info.bytes_on_disk);
    gguf_free(g);
    assert_int_equal(model_save_header(whole, out, &err), -1); /* never overwritten */
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(model_save_header(whole, bad, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    /* The name does not matter when a file ends exactly where its data would start. */
    assert_int_equal(rename(out, plain), 0);
    gguf_free(open_ok(d, "cut-at-data.gguf", &info));
    assert_true(info.header_only);
    assert_int_equal(model_save_header(set, set_out, &err), 0);
    gguf_free(open_ok(d, "h-00003-of-00003.ggufh", &info));
    assert_true(info.header_only);
    assert_int_equal(info.n_files, SHARDS);
}

static void test_no_files(void **state)
{
    const struct folder *d = *state;
    mem_auto char *fifo = in(d, "fifo"), *cut = in(d, "cut.gguf"), *whole = in(d, "whole.gguf");
    expect_error(d, "absent.gguf", ERR_NOT_FOUND, "absent.gguf");
    expect_error(d, "absent-00001-of-00002.gguf", ERR_NOT_FOUND, "absent-00001-of-00002.gguf");
    expect_error(d, "absent-00001-of-99999.gguf", ERR_LIMIT, "99999");
    expect_error(d, "", ERR_INVALID, "not a regular file");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    expect_error(d, "fifo", ERR_INVALID, "not a regular file");
    mem_auto char *bytes = NULL;
    size_t n;
    assert_int_equal(file_read(whole, 1 << 20, &bytes, &n, NULL), 0);
    assert_int_equal(file_write(cut, bytes, n - 1, 0644, NULL), 0);
    expect_error(d, "cut.gguf", ERR_CORRUPT, "cut short");
    assert_int_equal(file_write(cut, "", 0, 0644, NULL), 0);
    expect_error(d, "cut.gguf", ERR_CORRUPT, "cut short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),       cmocka_unit_test(test_set),
        cmocka_unit_test(test_broken_sets), cmocka_unit_test(test_headers),
        cmocka_unit_test(test_no_files),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
