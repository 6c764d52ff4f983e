/* base/doc: lines and places of complaints, kinds of fields, what is refused. */
#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

struct thing {
    char name[8];
    uint64_t size;
    uint32_t count;
    double weight, rate, wait, power;
    bool on;
    int colour;
};

static const char *const COLOURS[] = {"red", "green"};
static const struct doc_field FIELDS[] = {
    {"name", DOC_TEXT, true, DOC_FIELD(struct thing, name)},
    {"size", DOC_BYTES, DOC_FIELD(struct thing, size), .lo = MIB, .hi = 1ull << 50},
    {"count", DOC_U32, DOC_FIELD(struct thing, count), .lo = 1, .hi = 1024},
    {"weight", DOC_NUMBER, DOC_FIELD(struct thing, weight), .lo = 0, .hi = 1e12},
    {"rate", DOC_RATE, DOC_FIELD(struct thing, rate), .lo = 1e3, .hi = 1e15},
    {"wait", DOC_SECONDS, DOC_FIELD(struct thing, wait), .lo = 0, .hi = 10},
    {"power", DOC_WATTS, DOC_FIELD(struct thing, power), .lo = 1, .hi = 1e5},
    {"on", DOC_BOOL, DOC_FIELD(struct thing, on)},
    {"colour", DOC_CHOICE, DOC_FIELD(struct thing, colour), .choices = COLOURS,
     .n_choices = ARRAY_LEN(COLOURS)},
    {"more", DOC_OTHER},
};

static int read_thing(struct thing *x, const char *text, struct err *err)
{
    struct doc d;
    int rc = doc_parse(&d, "t.yaml", text, strlen(text), err);
    const struct doc_at root = doc_root(&d);
    if (!rc)
        rc = doc_fields(&root, FIELDS, ARRAY_LEN(FIELDS), x, err);
    doc_done(&d);
    return rc;
}

static void test_values(void **state)
{
    struct thing x = {.count = 7};
    struct err e = {0};
    assert_int_equal(read_thing(&x,
                                "name: a\nsize: 24GiB\nweight: -0.0\nrate: 10Gbit/s\nwait: 0.2ms\n"
                                "power: 350W\non: true\ncolour: green\nmore: [1]\n",
                                &e),
                     0);
    assert_string_equal(x.name, "a");
    assert_true(x.size == 24 * GIB && x.count == 7 && x.on && x.colour == 1);
    assert_true(x.weight == 0 && !signbit(x.weight));
    assert_true(x.rate == 1.25e9 && x.wait == 0.2e-3 && x.power == 350);
    assert_int_equal(
        read_thing(&x, "{\"name\":\"\\u00fc\",\"size\":1048576,\"rate\":5e8,\"power\":2}", &e), 0);
    assert_string_equal(x.name, "\xc3\xbc");
    assert_true(x.size == MIB && x.rate == 5e8 && x.power == 2);
}

/* Types are those of YAML 1.2's core: no yes and no. */
static void test_types(void **state)
{
    static const char TEXT[] = "a: 1\nb: [x, no, 'true', true, 1.5, -2e3, +5, 0.2ms, 24GiB, ~, "
                               "\"\\u00e9\"]\nc: {d: null}\n";
    struct doc d;
    struct err e = {0};
    assert_int_equal(doc_parse(&d, "t", TEXT, sizeof TEXT - 1, &e), 0);
    char *s = json_text(d.root);
    assert_string_equal(s,
                        "{\"a\":1,\"b\":[\"x\",\"no\",\"true\",true,1.5,-2000.0,\"+5\",\"0.2ms\","
                        "\"24GiB\",null,\"\xc3\xa9\"],\"c\":{\"d\":null}}");
    free(s);
    doc_done(&d);
}

static void test_faults(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "t.yaml:1: the document is empty"},
        {"# nothing\n", "t.yaml:1: the document is empty"},
        {"~\n", "t.yaml:1: the document is empty"},
        {"- a\n", "t.yaml:1: must be a mapping (key: value), found a list"},
        {"{}", "t.yaml:1: 'name' is missing"},
        {"name: a\n\ncuont: 3\n", "t.yaml:3: unknown key 'cuont'; did you mean 'count'?"},
        {"name: a\nzzz: 3\n",
         "t.yaml:2: unknown key 'zzz'; known: name, size, count, weight, rate, "
         "wait, power, on, colour, more"},
        {"name:\n", "t.yaml:1: name: has no value"},
        {"name: ''\n", "t.yaml:1: name: is empty"},
        {"name: 3090\n", "t.yaml:1: name: must be text, found 3090; put it in quotes"},
        {"name: [a]\n", "t.yaml:1: name: must be text, found a list"},
        {"name: abcdefgh\n",
         "t.yaml:1: name: 'abcdefgh...' is 8 bytes long; at most 7 are allowed"},
        {"name: \"a\\eb\"\n", "t.yaml:1: name: 'a?b' holds characters that cannot be shown"},
        {"name: \"a\\0b\"\n", "t.yaml:1: a text holds a NUL character"},
        {"name: a\n\"na\\0me\": b\n", "t.yaml:2: a text holds a NUL character"},
        {"name: a\nsize: 24 GB/s\n",
         "t.yaml:2: size: '24 GB/s' is not a size; did you mean the unit GB?"},
        {"name: a\nsize: 24Gib\n",
         "t.yaml:2: size: '24Gib' is not a size; did you mean the unit GiB?"},
        {"name: a\nsize: 0x10GiB\n",
         "t.yaml:2: size: '0x10GiB' is not a size; write for example 24GiB or 512MiB"},
        {"name: a\nsize: -1GiB\n",
         "t.yaml:2: size: '-1GiB' is not a size; write for example 24GiB or 512MiB"},
        {"name: a\nsize: -5\n", "t.yaml:2: size: -5 is outside 1MiB to 1PiB"},
        {"name: a\nsize: -0\n", "t.yaml:2: size: 0 is outside 1MiB to 1PiB"},
        {"name: a\nsize: 24\n",
         "t.yaml:2: size: 24 is outside 1MiB to 1PiB; a number without a unit counts bytes"},
        {"name: a\nsize: 2PiB\n", "t.yaml:2: size: '2PiB' is outside 1MiB to 1PiB"},
        {"name: a\nsize: 1e999GiB\n",
         "t.yaml:2: size: '1e999GiB' is not a size; write for example 24GiB or 512MiB"},
        {"name: a\nsize: 24.5\n", "t.yaml:2: size: found 24.5; write for example 24GiB or 512MiB"},
        {"name: a\nsize: {a: 1}\n",
         "t.yaml:2: size: found a mapping; write for example 24GiB or 512MiB"},
        {"name: a\ncount: two\n", "t.yaml:2: count: must be a whole number, found 'two'"},
        {"name: a\ncount: 1.5\n", "t.yaml:2: count: must be a whole number, found 1.5"},
        {"name: a\ncount: 1000000\n", "t.yaml:2: count: 1000000 is outside 1 to 1024"},
        {"name: a\ncount: 0\n", "t.yaml:2: count: 0 is outside 1 to 1024"},
        {"name: a\nweight: .nan\n", "t.yaml:2: weight: must be a number, found '.nan'"},
        {"name: a\nweight: NaN\n", "t.yaml:2: weight: must be a number, found 'NaN'"},
        {"name: a\nweight: .inf\n", "t.yaml:2: weight: must be a number, found '.inf'"},
        {"name: a\nweight: 1e999\n", "t.yaml:2: weight: must be a number, found '1e999'"},
        {"name: a\nweight: -1e-9\n", "t.yaml:2: weight: -1e-09 is outside 0 to 1e+12"},
        {"name: a\nrate: 5e15\n", "t.yaml:2: rate: 5e+15 is outside 1KB/s to 1000TB/s"},
        {"name: a\nwait: 5\n", "t.yaml:2: wait: found 5; write for example 0.2ms or 30s"},
        {"name: a\nwait: 11s\n", "t.yaml:2: wait: '11s' is outside 0 to 10s"},
        {"name: a\npower: 350w\n",
         "t.yaml:2: power: '350w' is not a power; did you mean the unit W?"},
        {"name: a\non: yes\n", "t.yaml:2: on: must be true or false, found 'yes'"},
        {"name: a\ncolour: gren\n",
         "t.yaml:2: colour: 'gren' is none of red, green; did you mean 'green'?"},
        {"name: a\ncolour: 3\n", "t.yaml:2: colour: 3 is none of red, green"},
        {"name: a\nmore:\n  - x: 1\n    y: {z: [1,\n      2]}\ncount: 3\nmore: 2\n",
         "t.yaml:7: key 'more' is there twice, first in line 2"},
        {"name: a\nmore: &x 1\n", "t.yaml:2: anchors (&), aliases (*) and tags (!) are not read"},
        {"name: a\nmore: &x [1]\n", "t.yaml:2: anchors (&), aliases (*) and tags (!) are not read"},
        {"name: a\nmore: !!map {}\n",
         "t.yaml:2: anchors (&), aliases (*) and tags (!) are not read"},
        {"name: a\nmore: *x\n", "t.yaml:2: anchors (&), aliases (*) and tags (!) are not read"},
        {"name: a\n---\nname: b\n", "t.yaml:3: a second document; one is read"},
        {"name: a\n? [1]\n: 2\n", "t.yaml:2: a key must be a plain word"},
        {"name: a\nmore: [1\n", "t.yaml:3: not valid YAML: did not find expected ',' or ']'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct thing x = {0};
        struct err e = {0};
        assert_int_equal(read_thing(&x, cases[i].text, &e), -1);
        assert_string_equal(e.msg, cases[i].says);
        assert_int_equal(e.code, ERR_INVALID);
        assert_int_equal(err_info(e.code)->exit, 2);
    }
}

/* The line of every value, whatever stands before it. */
static void test_lines(void **state)
{
    static const char TEXT[] = "a: {x: [1, 2], y: null}\n" /* 1 */
                               "b:\n"
                               "  - c: true\n" /* 3 */
                               "    d: true\n"
                               "  -\n" /* 5: the item begins with its first key */
                               "    c: |\n"
                               "      text\n"
                               "      text\n"
                               "    d: {e: {},\n"
                               "        f: [[], [true]]}\n" /* 10 */
                               "g: 1\n";
    struct doc d;
    struct err e = {0};
    assert_int_equal(doc_parse(&d, NULL, TEXT, sizeof TEXT - 1, &e), 0);
    assert_int_equal(d.n_lines, doc_values(d.root));
    const struct doc_at root = doc_root(&d), b = doc_member(&root, "b"), g = doc_member(&root, "g"),
                        b0 = doc_item(&b, 0), b1 = doc_item(&b, 1), b0d = doc_member(&b0, "d"),
                        b1d = doc_member(&b1, "d"), f = doc_member(&b1d, "f"), f1 = doc_item(&f, 1),
                        f10 = doc_item(&f1, 0), none = doc_member(&b1, "z");
    const struct {
        const struct doc_at *at;
        uint32_t line;
        const char *says;
    } cases[] = {{&root, 1, "line 1: x"},          {&b, 2, "line 2: b: x"},
                 {&b0, 3, "line 3: b[0]: x"},      {&b0d, 4, "line 4: b[0].d: x"},
                 {&b1, 6, "line 6: b[1]: x"},      {&b1d, 9, "line 9: b[1].d: x"},
                 {&f, 10, "line 10: b[1].d.f: x"}, {&f10, 10, "line 10: b[1].d.f[1][0]: x"},
                 {&none, 6, "line 6: b[1].z: x"},  {&g, 11, "line 11: g: x"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(doc_line(cases[i].at), cases[i].line);
        assert_int_equal(doc_fault(cases[i].at, &e, "x"), -1);
        assert_string_equal(e.msg, cases[i].says);
    }
    struct doc bare = doc_of(d.root);
    const struct doc_at there = doc_root(&bare), where = doc_member(&there, "b");
    assert_int_equal(doc_line(&where), 0);
    doc_fill(&where, &e, "x");
    assert_string_equal(e.msg, "b: x");
    doc_done(&d);
}

/* A place and a file name that would leave no room for the message are cut; nothing foreign reaches
 * a terminal. */
static void test_long_places(void **state)
{
    char name[500], text[3000] = "";
    memset(name, 'x', sizeof name);
    str_copy(name + 480, 20, "/end.yaml");
    for (int i = 0; i < 50; i++)
        strncat(text, "{\"key\\e that is long and strange\": ", sizeof text - strlen(text) - 1);
    strncat(text, "1", 2);
    for (int i = 0; i < 50; i++)
        strncat(text, "}", 2);
    struct doc d;
    struct err e = {0};
    assert_int_equal(doc_parse(&d, name, text, strlen(text), &e), 0);
    struct doc_at at[51] = {doc_root(&d)};
    for (int i = 1; i <= 50; i++)
        at[i] = doc_member(&at[i - 1], "key\x1b that is long and strange");
    doc_fill(&at[50], &e, "the %s", "message");
    assert_non_null(strstr(e.msg, "xxx/end.yaml:1: key? that is long"));
    assert_non_null(strstr(e.msg, "...: the message"));
    assert_null(strchr(e.msg, '\x1b'));
    doc_done(&d);
}

static void test_bounds(void **state)
{
    struct doc d;
    struct err e = {0};
    char deep[JSON_DEPTH_MAX + 1];
    memset(deep, '[', sizeof deep);
    assert_int_equal(doc_parse(&d, "t", deep, sizeof deep, &e), -1);
    assert_string_equal(e.msg, "t:1: nests deeper than 64 levels");
    doc_done(&d);
    char *big = mem_calloc(JSON_BYTES_MAX + 1, 1);
    assert_int_equal(doc_parse(&d, "t", big, JSON_BYTES_MAX + 1, &e), -1);
    assert_string_equal(e.msg, "t: 67108865 bytes; at most 67108864 are read");
    doc_done(&d);
    /* The list itself is a value too. */
    size_t n = 0;
    big[n++] = '[';
    for (int i = 0; i < DOC_VALUES_MAX; i++) {
        big[n++] = i % 1000 ? ' ' : '\n';
        big[n++] = '1';
        big[n++] = ',';
    }
    big[n++] = ']';
    assert_int_equal(doc_parse(&d, "t", big, n, &e), -1);
    assert_string_equal(e.msg, "t:4196: more than 4194304 values in one document");
    doc_done(&d);
    free(big);
}

static void test_schema(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[]", "s:1: must be a mapping (key: value), found a list"},
        {"x: 1", "s:1: 'schema' is missing; write schema: a/1"},
        {"x: 1\nschema: 7", "s:2: schema: 7 is not read here; this program reads a/1"},
        {"x: 1\nschema: a/2", "s:2: schema: 'a/2' is not read here; this program reads a/1"},
        {"schema: a/1", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct doc d;
        struct err e = {0};
        assert_int_equal(doc_parse(&d, "s", cases[i].text, strlen(cases[i].text), &e), 0);
        assert_int_equal(doc_schema(&d, "a/1", &e), cases[i].says ? -1 : 0);
        assert_string_equal(e.msg, cases[i].says ? cases[i].says : "");
        doc_done(&d);
    }
}

static void test_nearest(void **state)
{
    static const struct {
        char pad[3], name[16];
    } items[] = {{"", "hill"}, {"", "dale"}, {"", "hill-2"}};
    const char *hill = str_nearest_in("hlil", items[0].name, 3, sizeof *items);
    assert_string_equal(hill, "hill");
    assert_string_equal(str_nearest_in("dael", items[0].name, 3, sizeof *items), "dale");
    assert_null(str_nearest_in("mountain", items[0].name, 3, sizeof *items));
    assert_string_equal(str_did_you_mean(hill).text, "; did you mean 'hill'?");
    assert_string_equal(str_did_you_mean(NULL).text, "");
}

static void test_units(void **state)
{
    static const struct {
        enum num_kind kind;
        double v;
        const char *text;
    } cases[] = {
        {NUM_BYTES, 0, "0"},
        {NUM_BYTES, 1, "1"},
        {NUM_BYTES, 1536, "1536"},
        {NUM_BYTES, 24.0 * (1 << 30), "24GiB"},
        {NUM_BYTES, 1e12, "1TB"},
        {NUM_BYTES, 9007199254740991, "9007199254740991"},
        {NUM_RATE, 1.25e9, "1250MB/s"},
        {NUM_RATE, 936e9, "936GB/s"},
        {NUM_RATE, 1234567890.125, "1234567890.125B/s"},
        {NUM_SECONDS, 0, "0s"},
        {NUM_SECONDS, 90, "90s"},
        {NUM_SECONDS, 0.1e-3, "0.1ms"},
        {NUM_SECONDS, 0.25e-3, "250us"},
        {NUM_SECONDS, 1.0 / 3, "0.33333333333333331s"},
        {NUM_WATTS, 350, "350W"},
        {NUM_WATTS, 1200, "1200W"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[48];
        double back = -1;
        num_fmt_unit(text, sizeof text, cases[i].kind, cases[i].v);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(num_unit(text, cases[i].kind, &back, NULL), 0);
        assert_true(back == cases[i].v);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),      cmocka_unit_test(test_types),
        cmocka_unit_test(test_faults),      cmocka_unit_test(test_lines),
        cmocka_unit_test(test_long_places), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_schema),      cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
