/* base/: errors, strings, numbers, maps, JSON and YAML trees, option tables. */
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/opt.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void test_err(void **state)
{
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_LIMIT, "need %d", 5), -1);
    err_wrap(&e, "tensor %s", "x");
    assert_string_equal(e.msg, "tensor x: need 5");
    for (int i = 0; i < ERR_COUNT; i++)
        assert_int_equal(err_by_name(err_info((enum err_code)i)->name), i);
    assert_int_equal(err_set(NULL, ERR_IO, "ignored"), -1);
}

static void test_buf(void **state)
{
    buf_auto struct buf b;
    buf_init(&b, 10);
    buf_adds(&b, "12345");
    buf_addf(&b, "%d", 678);
    assert_string_equal(b.p, "12345678");
    buf_adds(&b, "999");
    assert_true(b.full);
    assert_int_equal(b.n, 8);
    buf_clear(&b);
    assert_false(b.full);
    buf_adds(&b, "abcdef");
    buf_drop(&b, 2);
    assert_string_equal(b.p, "cdef");
}

static void test_num(void **state)
{
    uint64_t v;
    double d;
    struct err e;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"24GiB", 24 * GIB},
                {"512MiB", 512 * MIB},
                {"4096", 4096},
                {"1.5 GB", 1500000000},
                {"0B", 0}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(num_bytes(good[i].text, "x", &v, &e), 0);
        assert_int_equal(v, good[i].bytes);
    }
    static const char *const bad[] = {"",      "GiB", "-1GiB",       "1XiB",
                                      "1GiBx", "nan", "99999999TiB", "1e400"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(num_bytes(bad[i], "x", &v, &e), -1);
    assert_int_equal(num_rate("10Gbit/s", "x", &d, &e), 0);
    assert_true(d == 1.25e9);
    assert_int_equal(num_seconds("0.1ms", "x", &d, &e), 0);
    assert_true(d > 0.9999e-4 && d < 1.0001e-4);
    assert_int_equal(num_u64("18446744073709551616", "n", 0, UINT64_MAX, &v, &e), -1);
    assert_int_equal(num_u64("12x", "n", 0, 100, &v, &e), -1);
    assert_int_equal(num_u64("101", "n", 0, 100, &v, &e), -1);
    assert_true(num_pad_sat(UINT64_MAX - 3, 32) == UINT64_MAX);
    assert_true(num_mul_sat(1ull << 63, 2) == UINT64_MAX);
}

static void test_map(void **state)
{
    struct map *m = map_new(7);
    char key[16];
    static int values[1000];
    for (int i = 0; i < 1000; i++) {
        str_copyf(key, sizeof key, "k%d", i);
        assert_null(map_set(m, key, &values[i]));
    }
    for (int i = 0; i < 1000; i += 2) {
        str_copyf(key, sizeof key, "k%d", i);
        assert_ptr_equal(map_del(m, key), &values[i]);
    }
    assert_int_equal(map_count(m), 500);
    for (int i = 0; i < 1000; i++) {
        str_copyf(key, sizeof key, "k%d", i);
        assert_ptr_equal(map_get(m, key), i % 2 ? &values[i] : NULL);
    }
    void *v;
    int n = 0;
    for (size_t i = 0; map_next(m, &i, NULL, &v); n++)
        assert_ptr_equal(v, &values[2 * n + 1]);
    assert_int_equal(n, 500);
    map_free(m);
}

static void test_json(void **state)
{
    struct err e;
    static const char *const bad[] = {"",        "{",           "{\"a\":1,\"a\":2}",
                                      "[1e999]", "\"\\ud800\"", "{} x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_null(json_parse(bad[i], strlen(bad[i]), &e));
    assert_null(json_parse("{\"a\":0\0}", 8, &e));
    assert_non_null(strstr(e.msg, "byte 6"));
    char deep[200];
    memset(deep, '[', sizeof deep);
    assert_null(json_parse(deep, sizeof deep, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    const char *text = "{\"n\":5,\"s\":\"abc\",\"b\":true,\"neg\":-1}";
    json_t *v = json_parse(text, strlen(text), &e);
    uint64_t n = 0;
    assert_int_equal(json_get_u64(v, "n", true, 10, &n, &e), 0);
    assert_int_equal(n, 5);
    assert_int_equal(json_get_u64(v, "n", true, 4, &n, &e), -1);
    assert_int_equal(json_get_u64(v, "neg", true, 10, &n, &e), -1);
    assert_int_equal(json_get_u64(v, "absent", true, 10, &n, &e), -1);
    assert_int_equal(json_get_u64(v, "absent", false, 10, &n, &e), 0);
    char small[3];
    assert_int_equal(JSON_COPY(v, "s", true, small, &e), -1);
    static const char *const names[] = {"n", "s", "bb", "neg"};
    assert_int_equal(json_known_keys(v, "thing", names, 4, &e), -1);
    char *back = json_text(v);
    assert_string_equal(back, text);
    free(back);
    json_decref(v);
}

static void test_opt(void **state)
{
    bool flag = false, help;
    const char *s = "default", *operands[2];
    uint64_t n = 3;
    struct opt_list list = {0};
    double wait_s = 1;
    const struct opt opts[] = {{"flag", 'f', OPT_FLAG, &flag, NULL, "a flag"},
                               {"name", 0, OPT_STR, &s, "TEXT", "a name"},
                               {"count", 'n', OPT_U64, &n, "N", "how many", 1, 9},
                               {"item", 0, OPT_LIST, &list, "X", "again and again"},
                               {"wait", 0, OPT_SECONDS, &wait_s, "TIME", "how long"}};
    size_t k;
    struct err e;
    char *argv[] = {"cmd", "one",      "-f",     "--name=x y", "-n", "9",   "--item",
                    "a",   "--item=b", "--wait", "2m",         "--", "-two"};
    assert_int_equal(opt_parse(opts, 5, 13, argv, operands, 2, &k, &help, &e), 0);
    assert_true(flag && n == 9 && k == 2 && list.n == 2);
    assert_string_equal(s, "x y");
    assert_true(wait_s == 120);
    assert_string_equal(operands[1], "-two");
    char *wrong[] = {"cmd", "--cuont", "5"};
    assert_int_equal(opt_parse(opts, 5, 3, wrong, operands, 2, &k, &help, &e), -1);
    assert_non_null(strstr(e.msg, "did you mean --count"));
    char *over[] = {"cmd", "-n", "10"};
    assert_int_equal(opt_parse(opts, 5, 3, over, operands, 2, &k, &help, &e), -1);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err), cmocka_unit_test(test_buf),  cmocka_unit_test(test_num),
        cmocka_unit_test(test_map), cmocka_unit_test(test_json), cmocka_unit_test(test_opt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
