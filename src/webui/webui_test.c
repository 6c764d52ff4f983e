/* Embedded assets and the rules of serving them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "webui/assets.h"
#include "webui/webui.h"

static struct str optional(const char *s)
{
    return s ? str_of(s) : (struct str){NULL, 0};
}

static void test_gzip(void **state)
{
    static const struct {
        const char *header;
        bool takes;
    } cases[] = {
        {NULL, false},          {"", false},
        {"gzip", true},         {"GZIP", true},
        {"br, gzip", true},     {"deflate,gzip;q=0.5", true},
        {"gzip;q=0", false},    {"gzip; q=0.000", false},
        {"gzip;q=0.001", true}, {"*", true},
        {"*;q=0", false},       {"*;q=0, gzip", true},
        {"gzip;q=0, *", false}, {"xgzip", false},
        {"gzipx", false},       {"identity", false},
        {", ,gzip", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (webui_takes_gzip(optional(cases[i].header)) != cases[i].takes)
            fail_msg("accept-encoding '%s': want %d", cases[i].header, cases[i].takes);
}

static void test_etag(void **state)
{
    static const struct {
        const char *header;
        bool known;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"\"abc\"", true},
        {"W/\"abc\"", true},
        {"\"x\", \"abc\"", true},
        {"*", true},
        {"abc", false},
        {"\"abcd\"", false},
        {"\"ab\"", false},
        {"\"abc", false},
        {"\"abc-gz\"", false},
        {"\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (webui_etag_known(optional(cases[i].header), "abc") != cases[i].known)
            fail_msg("if-none-match '%s': want %d", cases[i].header, cases[i].known);
}

static void test_find(void **state)
{
    const struct webui_asset *page = webui_find(STR("/"));
    assert_non_null(page);
    assert_ptr_equal(page, webui_find(STR("/index.html")));
    assert_string_equal(page->type, "text/html; charset=utf-8");
    assert_false(page->immutable);
    assert_null(webui_find(STR("")));
    assert_null(webui_find(STR("/index.htm")));
    assert_null(webui_find(STR("/assets/")));
    assert_null(webui_find(STR("/.sources")));
    assert_null(webui_find(STR("/index.html.gz")));
}

/* Every asset lies in the blob where the table says: text is text, gzip begins with its magic. */
static void test_assets(void **state)
{
    assert_true(webui_n_assets > 0);
    for (size_t i = 0; i < webui_n_assets; i++) {
        const struct webui_asset *a = &webui_assets[i];
        assert_int_equal(a->path[0], '/');
        assert_true(a->n > 0);
        assert_int_equal(strlen(a->etag), 20);
        if (strncmp(a->type, "text/html", 9) == 0)
            assert_memory_equal(webui_blob + a->at, "<!doctype html>", 15);
        if (a->gz_n > 0) {
            assert_int_equal(webui_blob[a->gz_at], 0x1f);
            assert_int_equal(webui_blob[a->gz_at + 1], 0x8b);
        }
        if (a->immutable)
            assert_int_equal(strncmp(a->path, "/assets/", 8), 0);
    }
}

/* The page names its script and style; each must be an asset, so that no request of the page fails.
 */
static void test_references(void **state)
{
    const struct webui_asset *page = webui_find(STR("/"));
    const char *p = (const char *)webui_blob + page->at, *end = p + page->n;
    size_t n = 0;
    for (; (p = memmem(p, (size_t)(end - p), "\"assets/", 8)); n++) {
        p++;
        const char *quote = memchr(p, '"', (size_t)(end - p));
        assert_non_null(quote);
        char path[128];
        assert_true(str_copyf(path, sizeof path, "/%.*s", (int)(quote - p), p));
        const struct webui_asset *a = webui_find(str_of(path));
        if (!a)
            fail_msg("the page names %s, which is not embedded", path);
        assert_true(a->immutable);
        p = quote;
    }
    /* Either the real page with both, or the plain one with neither. */
    assert_true(n == 2 || webui_n_assets == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip),       cmocka_unit_test(test_etag),
        cmocka_unit_test(test_find),       cmocka_unit_test(test_assets),
        cmocka_unit_test(test_references),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
