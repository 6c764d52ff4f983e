/* One contract over every driver, and what only a file can show. */
#include "store/store.h"

#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sqlite3.h>
#include <cmocka.h>

struct fixture {
    const struct store_driver *driver;
    char dir[64], path[96];
    struct store *s;
};

static void fixture_open(struct fixture *f, const struct store_driver *driver)
{
    struct err err = {0};
    f->driver = driver;
    str_copy(f->dir, sizeof f->dir, "/tmp/stowage-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    str_copyf(f->path, sizeof f->path, "%s/state.db", f->dir);
    f->s = store_open(driver->name, f->path, &err);
    if (!f->s)
        fail_msg("%s", err.msg);
}

static void fixture_close(struct fixture *f)
{
    static const char *const FILES[] = {"state.db", "state.db-wal", "state.db-shm"};
    char path[128];
    if (f->s)
        f->driver->close(f->s);
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++) {
        str_copyf(path, sizeof path, "%s/%s", f->dir, FILES[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->dir), 0);
}

static json_t *doc(int n)
{
    json_t *o = json_object();
    json_put_u64(o, "n", (uint64_t)n);
    return o;
}

static int commit(struct fixture *f, const struct store_op *ops, size_t n, int64_t *rev,
                  struct err *err)
{
    return f->driver->commit(f->s, ops, n, rev, err);
}

static int put(struct fixture *f, const char *kind, const char *id, int n, int64_t expect,
               struct err *err)
{
    json_auto_t *d = doc(n);
    return commit(f, &(struct store_op){STORE_PUT_SPEC, kind, id, d, expect, NULL, 0, 0}, 1, NULL,
                  err);
}

static int claim(struct fixture *f, const char *replica, const char *device, uint64_t bytes,
                 uint64_t capacity, struct err *err)
{
    return commit(f,
                  &(struct store_op){STORE_CLAIM, NULL, replica, NULL, -1, device, bytes, capacity},
                  1, NULL, err);
}

static uint64_t claimed(struct fixture *f, const char *device)
{
    uint64_t bytes = 99;
    assert_int_equal(f->driver->claimed(f->s, device, &bytes, NULL), 0);
    return bytes;
}

/* n of the spec, or -1 when absent; the revision in *rev. */
static int get(struct fixture *f, const char *kind, const char *id, int64_t *rev)
{
    struct store_object o;
    struct err err = {0};
    if (f->driver->get(f->s, kind, id, &o, &err)) {
        assert_int_equal(err.code, ERR_NOT_FOUND);
        return -1;
    }
    int n = o.spec ? (int)json_integer_value(json_object_get(o.spec, "n")) : -2;
    if (rev)
        *rev = o.revision;
    store_object_done(&o);
    return n;
}

/* ---- the contract ---- */

static void expectations(struct fixture *f)
{
    static const struct {
        const char *name, *id;
        int64_t expect; /* 100: the object's own revision */
        enum err_code code;
        const char *says;
    } CASES[] = {
        {"new, must be absent", "a", 0, ERR_NONE, ""},
        {"there, must be absent", "a", 0, ERR_CONFLICT, "exists already"},
        {"there, any", "a", -1, ERR_NONE, ""},
        {"there, its revision", "a", 100, ERR_NONE, ""},
        {"there, an old revision", "a", 1, ERR_CONFLICT, "changed meanwhile"},
        {"absent, a revision", "b", 7, ERR_CONFLICT, "gone"},
        {"absent, any", "b", -1, ERR_NONE, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct err err = {0};
        int64_t before = f->driver->revision(f->s), rev = 0;
        int n = get(f, "k", CASES[i].id, &rev);
        int rc =
            put(f, "k", CASES[i].id, (int)i, CASES[i].expect == 100 ? rev : CASES[i].expect, &err);
        if (err.code != CASES[i].code || !strstr(err.msg, CASES[i].says))
            fail_msg("%s: %d %s", CASES[i].name, err.code, err.msg);
        assert_int_equal(rc, CASES[i].code ? -1 : 0);
        assert_int_equal(f->driver->revision(f->s), before + (rc ? 0 : 1));
        assert_int_equal(get(f, "k", CASES[i].id, NULL), rc ? n : (int)i);
    }
}

static void batches_are_atomic(struct fixture *f)
{
    struct err err = {0};
    assert_int_equal(put(f, "k", "old", 1, 0, &err), 0);
    json_auto_t *d = doc(5);
    struct store_op bad[] = {
        {STORE_PUT_SPEC, "k", "new", d, 0, NULL, 0, 0},
        {STORE_PUT_STATUS, "k", "old", d, -1, NULL, 0, 0},
        {STORE_CLAIM, NULL, "r", NULL, -1, "g", 60, 100},
        {STORE_DELETE, "k", "old", NULL, -1, NULL, 0, 0},
        {STORE_CLAIM, NULL, "r2", NULL, -1, "g", 50, 100}, /* 110 of 100 */
    };
    int64_t before = f->driver->revision(f->s);
    assert_int_equal(commit(f, bad, ARRAY_LEN(bad), NULL, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(f->driver->revision(f->s), before);
    assert_int_equal(get(f, "k", "new", NULL), -1);
    assert_int_equal(get(f, "k", "old", NULL), 1);
    assert_int_equal(claimed(f, "g"), 0);

    int64_t rev = 0, of_new = 0;
    assert_int_equal(commit(f, bad, ARRAY_LEN(bad) - 1, &rev, &err), 0);
    assert_int_equal(rev, before + 1);
    assert_int_equal(get(f, "k", "new", &of_new), 5);
    assert_int_equal(of_new, rev);
    assert_int_equal(get(f, "k", "old", NULL), -1);
    assert_int_equal(claimed(f, "g"), 60);
}

/* Expectations look at the state before the transaction, for every operation of it. */
static void two_writes_of_one_object(struct fixture *f)
{
    json_auto_t *d = doc(3), *e = doc(4);
    struct store_op both[] = {{STORE_PUT_SPEC, "k", "a", d, 0, NULL, 0, 0},
                              {STORE_PUT_STATUS, "k", "a", e, 0, NULL, 0, 0}};
    struct err err = {0};
    struct store_object o;
    assert_int_equal(commit(f, both, 2, NULL, &err), 0);
    assert_int_equal(f->driver->get(f->s, "k", "a", &o, &err), 0);
    assert_int_equal(json_integer_value(json_object_get(o.spec, "n")), 3);
    assert_int_equal(json_integer_value(json_object_get(o.status, "n")), 4);
    store_object_done(&o);
}

static void claims_never_pass_capacity(struct fixture *f)
{
    struct err err = {0};
    assert_int_equal(claim(f, "r1", "n/g", 70, 100, &err), 0);
    assert_int_equal(claim(f, "r2", "n/g", 31, 100, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "101"));
    assert_int_equal(claim(f, "r2", "n/g", 30, 100, &err), 0);
    assert_int_equal(claim(f, "r1", "n/g", 1, 100, &err), -1); /* adds to r1's 70 */
    assert_int_equal(claim(f, "r3", "n/other", 100, 100, &err), 0);
    assert_int_equal(claimed(f, "n/g"), 100);
    struct store_op swap[] = {{STORE_UNCLAIM, NULL, "r1", NULL, -1, NULL, 0, 0},
                              {STORE_CLAIM, NULL, "r4", NULL, -1, "n/g", 70, 100}};
    assert_int_equal(commit(f, swap, 2, NULL, &err), 0);
    assert_int_equal(claimed(f, "n/g"), 100);
    assert_int_equal(commit(f, swap, 1, NULL, &err), 0); /* of one that has none: fine */
    assert_int_equal(claimed(f, "nothing"), 0);
    assert_int_equal(claim(f, "r5", "n/g", UINT64_MAX, UINT64_MAX, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static bool collect(void *arg, const struct store_object *o)
{
    char *text = arg;
    size_t n = strlen(text);
    str_copyf(text + n, 64 - n, "%s ", o->id);
    return strcmp(o->id, "c") != 0;
}

static void lists_are_sorted(struct fixture *f)
{
    static const char *const IDS[] = {"b", "d", "a", "B", "c"};
    char seen[64] = "";
    for (size_t i = 0; i < ARRAY_LEN(IDS); i++)
        assert_int_equal(put(f, "k", IDS[i], 0, 0, NULL), 0);
    assert_int_equal(put(f, "l", "aa", 0, 0, NULL), 0);
    assert_int_equal(put(f, "j", "zz", 0, 0, NULL), 0);
    assert_int_equal(f->driver->list(f->s, "k", collect, seen, NULL), 0);
    assert_string_equal(seen, "B a b c "); /* stops after c */
    seen[0] = 0;
    assert_int_equal(f->driver->list(f->s, "none", collect, seen, NULL), 0);
    assert_string_equal(seen, "");
}

static void on_change(void *arg, int64_t revision, const char *kind, const char *id, bool deleted)
{
    struct buf *b = arg;
    buf_addf(b, "%lld%s:%s%s ", (long long)revision, kind, id, deleted ? "-" : "");
}

static void feed_tells_what_changed(struct fixture *f)
{
    buf_auto struct buf seen;
    buf_init(&seen, 1000);
    f->driver->on_change(f->s, on_change, &seen);
    json_auto_t *d = doc(1);
    struct store_op ops[] = {
        {STORE_PUT_SPEC, "k", "a", d, -1, NULL, 0, 0},
        {STORE_CLAIM, NULL, "a", NULL, -1, "g", 1, 1},
        {STORE_PUT_STATUS, "k", "b", d, -1, NULL, 0, 0},
        {STORE_DELETE, "k", "absent", NULL, -1, NULL, 0, 0},
    };
    assert_int_equal(commit(f, ops, ARRAY_LEN(ops), NULL, NULL), 0);
    assert_int_equal(put(f, "k", "a", 1, 0, NULL), -1);
    struct store_op gone = {STORE_DELETE, "k", "a", NULL, 1, NULL, 0, 0};
    assert_int_equal(commit(f, &gone, 1, NULL, NULL), 0);
    assert_string_equal(buf_str(&seen).p, "1k:a 1k:b 2k:a- ");
}

static void limits(struct fixture *f)
{
    struct err err = {0};
    struct store_op op = {STORE_PUT_SPEC, "k", "a", NULL, -1, NULL, 0, 0};
    assert_int_equal(commit(f, &op, 0, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(commit(f, &op, STORE_MAX_OPS + 1, NULL, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(commit(f, &op, 1, NULL, &err), -1); /* no document */
    assert_int_equal(err.code, ERR_INVALID);
    json_auto_t *big = json_object();
    mem_auto char *text = mem_calloc(STORE_MAX_DOC + 1, 1);
    memset(text, 'x', STORE_MAX_DOC);
    json_put_str(big, "t", text);
    op.doc = big;
    assert_int_equal(commit(f, &op, 1, NULL, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    char id[400];
    memset(id, 'i', sizeof id - 1);
    id[sizeof id - 1] = 0;
    assert_int_equal(put(f, "k", id, 1, 0, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(put(f, "k", "quote ' \" ; -- \xc3\xa9", 1, 0, &err), 0);
    assert_int_equal(get(f, "k", "quote ' \" ; -- \xc3\xa9", NULL), 1);
    assert_int_equal(f->driver->revision(f->s), 1);
}

static void contract(void **state)
{
    static void (*const TESTS[])(struct fixture *) = {expectations,
                                                      batches_are_atomic,
                                                      two_writes_of_one_object,
                                                      lists_are_sorted,
                                                      feed_tells_what_changed,
                                                      claims_never_pass_capacity,
                                                      limits};
    for (size_t d = 0; STORE_DRIVERS[d]; d++)
        for (size_t i = 0; i < ARRAY_LEN(TESTS); i++) {
            struct fixture f;
            print_message("# %s, test %zu\n", STORE_DRIVERS[d]->name, i);
            fixture_open(&f, STORE_DRIVERS[d]);
            TESTS[i](&f);
            fixture_close(&f);
        }
}

/* ---- a file ---- */

static void reopened(void **state)
{
    struct fixture f;
    struct err err = {0};
    struct stat st;
    fixture_open(&f, STORE_DRIVERS[0]);
    for (int i = 0; i < 5; i++)
        assert_int_equal(put(&f, "k", "a", i, -1, NULL), 0);
    assert_int_equal(claim(&f, "r", "g", 10, 10, NULL), 0);
    f.driver->close(f.s);
    f.s = store_open("sqlite", f.path, &err);
    assert_non_null(f.s);
    assert_int_equal(f.driver->revision(f.s), 6);
    assert_int_equal(get(&f, "k", "a", NULL), 4);
    assert_int_equal(claim(&f, "r2", "g", 1, 10, &err), -1);
    assert_int_equal(put(&f, "k", "b", 0, 0, NULL), 0);
    assert_int_equal(f.driver->revision(f.s), 7);
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    fixture_close(&f);
}

/* Opens f's file (closed) with raw SQL run on it before. */
static enum err_code open_after(struct fixture *f, const char *sql, char msg[240])
{
    sqlite3 *db;
    struct err err = {0};
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    f->s = store_open("sqlite", f->path, &err);
    str_copy(msg, 240, err.msg);
    return err.code;
}

static void damaged_files_are_refused(void **state)
{
    static const struct {
        const char *sql;
        enum err_code code;
        const char *says;
    } CASES[] = {
        {"PRAGMA user_version = 99", ERR_UNSUPPORTED, "newer"},
        {"DROP TRIGGER claim_changed; UPDATE claims SET bytes = 3", ERR_CORRUPT, "add up"},
        {"PRAGMA foreign_keys = 0; DELETE FROM devices", ERR_CORRUPT, "refers to nothing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct fixture f;
        char msg[240];
        fixture_open(&f, STORE_DRIVERS[0]);
        assert_int_equal(claim(&f, "r", "g", 10, 10, NULL), 0);
        f.driver->close(f.s);
        assert_int_equal(open_after(&f, CASES[i].sql, msg), CASES[i].code);
        if (!strstr(msg, CASES[i].says))
            fail_msg("%s", msg);
        assert_null(f.s);
        fixture_close(&f);
    }
    struct fixture f;
    fixture_open(&f, STORE_DRIVERS[0]);
    f.driver->close(f.s);
    FILE *file = fopen(f.path, "w");
    fputs("this is no database, it is a text of some length", file);
    fclose(file);
    struct err err = {0};
    f.s = store_open("sqlite", f.path, &err);
    assert_null(f.s);
    assert_int_equal(err.code, ERR_CORRUPT);
    fixture_close(&f);
}

/* The database itself refuses an over-commit, should the code above it forget. */
static void constraint_holds_without_us(void **state)
{
    struct fixture f;
    sqlite3 *db;
    fixture_open(&f, STORE_DRIVERS[0]);
    assert_int_equal(claim(&f, "r", "g", 10, 12, NULL), 0);
    assert_int_equal(sqlite3_open(f.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO claims VALUES ('g', 'r2', 3)", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT);
    assert_int_equal(sqlite3_exec(db, "UPDATE claims SET bytes = 13", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO claims VALUES ('g', 'r2', 2)", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(claimed(&f, "g"), 12);
    fixture_close(&f);
}

/* A file size limit stands for a full disk: the kernel refuses writes at some point of the log.
 * Whatever was acknowledged is there afterwards, nothing else is, and writing goes on once there is
 * room. */
static void full_disk_loses_nothing(void **state)
{
    struct fixture f;
    struct err err = {0};
    struct rlimit old, small;
    fixture_open(&f, STORE_DRIVERS[0]);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 150000;
    setrlimit(RLIMIT_FSIZE, &small);
    char filler[2000];
    memset(filler, 'f', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    int written = 0, refused = 0;
    for (int i = 0; i < 200 && refused < 3; i++) {
        char id[16];
        json_auto_t *d = doc(written);
        json_put_str(d, "filler", filler);
        str_copyf(id, sizeof id, "%04d", written);
        struct store_op op = {STORE_PUT_SPEC, "k", id, d, 0, NULL, 0, 0};
        if (commit(&f, &op, 1, NULL, &err) == 0) { /* opening again may have made room in the log */
            written++;
        } else {
            assert_int_equal(err.code, ERR_IO);
            refused++;
        }
    }
    setrlimit(RLIMIT_FSIZE, &old);
    assert_true(written > 5);
    assert_int_equal(refused, 3);
    for (int round = 0; round < 2; round++) { /* as it runs on, and opened anew */
        assert_int_equal(f.driver->revision(f.s), written);
        for (int i = 0; i <= written; i++) {
            char id[16];
            str_copyf(id, sizeof id, "%04d", i);
            assert_int_equal(get(&f, "k", id, NULL), i < written ? i : -1);
        }
        if (!round)
            f.driver->close(f.s);
        if (!round)
            f.s = store_open("sqlite", f.path, &err);
        assert_non_null(f.s);
    }
    assert_int_equal(put(&f, "k", "after", 1, 0, &err), 0);
    assert_int_equal(f.driver->revision(f.s), written + 1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract),
        cmocka_unit_test(reopened),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(constraint_holds_without_us),
        cmocka_unit_test(full_disk_loses_nothing),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
