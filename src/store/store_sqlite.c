/* The SQLite driver: one file, WAL, synchronous=FULL: what commit acknowledges survives a power
 * cut.
 *
 * Capacity is guarded twice: by the message made here and by a CHECK on the device's running sum,
 * which triggers keep equal to its claims. A disk error closes the connection: what SQLite or the
 * kernel still holds in memory is not to be trusted then; the next call opens the file again, which
 * replays the log. */
#include "store/store_int.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_MS = 2000 };

/* Migration i takes a file from schema version i to i + 1, inside one transaction. */
static const char *const MIGRATIONS[] = {
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;"
    "INSERT INTO meta VALUES ('revision', 0);"
    "CREATE TABLE objects (kind TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL,"
    "  spec TEXT, status TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID, STRICT;"
    "CREATE TABLE devices (device TEXT PRIMARY KEY, capacity INTEGER NOT NULL,"
    "  claimed INTEGER NOT NULL DEFAULT 0 CHECK (claimed >= 0 AND claimed <= capacity))"
    "  WITHOUT ROWID, STRICT;"
    "CREATE TABLE claims (device TEXT NOT NULL REFERENCES devices, replica TEXT NOT NULL,"
    "  bytes INTEGER NOT NULL CHECK (bytes >= 0), PRIMARY KEY (device, replica))"
    "  WITHOUT ROWID, STRICT;"
    "CREATE INDEX claims_by_replica ON claims (replica);"
    "CREATE TRIGGER claim_added AFTER INSERT ON claims BEGIN"
    "  UPDATE devices SET claimed = claimed + NEW.bytes WHERE device = NEW.device; END;"
    "CREATE TRIGGER claim_changed AFTER UPDATE ON claims BEGIN"
    "  UPDATE devices SET claimed = claimed - OLD.bytes + NEW.bytes WHERE device = NEW.device; END;"
    "CREATE TRIGGER claim_removed AFTER DELETE ON claims BEGIN"
    "  UPDATE devices SET claimed = claimed - OLD.bytes WHERE device = OLD.device; END;",
};

enum stmt {
    BEGIN,
    COMMIT,
    ROLLBACK,
    FIND,
    PUT_SPEC,
    PUT_STATUS,
    DELETE,
    SET_DEVICE,
    CLAIM,
    UNCLAIM,
    CLAIMED,
    GET_REVISION,
    SET_REVISION,
    GET,
    STMT_COUNT,
};
static const char *const SQL[] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [FIND] = "SELECT revision FROM objects WHERE kind = ?1 AND id = ?2",
    [PUT_SPEC] = "INSERT INTO objects (kind, id, revision, spec) VALUES (?1, ?2, ?3, ?4)"
                 " ON CONFLICT DO UPDATE SET revision = ?3, spec = ?4",
    [PUT_STATUS] = "INSERT INTO objects (kind, id, revision, status) VALUES (?1, ?2, ?3, ?4)"
                   " ON CONFLICT DO UPDATE SET revision = ?3, status = ?4",
    [DELETE] = "DELETE FROM objects WHERE kind = ?1 AND id = ?2",
    [SET_DEVICE] = "INSERT INTO devices (device, capacity) VALUES (?1, ?2)"
                   " ON CONFLICT DO UPDATE SET capacity = ?2",
    [CLAIM] = "INSERT INTO claims (device, replica, bytes) VALUES (?1, ?2, ?3)"
              " ON CONFLICT DO UPDATE SET bytes = bytes + ?3",
    [UNCLAIM] = "DELETE FROM claims WHERE replica = ?1",
    [CLAIMED] = "SELECT claimed FROM devices WHERE device = ?1",
    [GET_REVISION] = "SELECT value FROM meta WHERE key = 'revision'",
    [SET_REVISION] = "UPDATE meta SET value = ?1 WHERE key = 'revision'",
    [GET] = "SELECT id, revision, spec, status FROM objects WHERE kind = ?1 AND id = ?2",
};
_Static_assert(ARRAY_LEN(SQL) == STMT_COUNT, "one text per statement");

struct sqlite_store {
    struct store base;
    struct store_feed feed;
    char *path;
    sqlite3 *db; /* NULL after a disk error, until the next call */
    sqlite3_stmt *stmts[STMT_COUNT];
    int64_t revision;
    bool broken; /* the disk failed under this connection */
};

static struct sqlite_store *of(struct store *s)
{
    return (struct sqlite_store *)s;
}

static void disconnect(struct sqlite_store *s)
{
    for (int i = 0; i < STMT_COUNT; i++) {
        sqlite3_finalize(s->stmts[i]);
        s->stmts[i] = NULL;
    }
    sqlite3_close_v2(s->db); /* a list that is still running keeps it alive until it ends */
    s->db = NULL;
    s->broken = false;
}

/* The database's word for what went wrong. A constraint is a capacity: names are checked before. */
static int fail(struct sqlite_store *s, struct err *err)
{
    int rc = sqlite3_errcode(s->db) & 0xff;
    bool corrupt = rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB;
    enum err_code code = rc == SQLITE_CONSTRAINT ? ERR_CONFLICT
                         : rc == SQLITE_BUSY     ? ERR_UNAVAILABLE
                         : corrupt               ? ERR_CORRUPT
                                                 : ERR_IO;
    s->broken = s->broken || corrupt || rc == SQLITE_IOERR;
    return err_set(err, code, "state file %.100s: %.80s%s", s->path, sqlite3_errmsg(s->db),
                   rc == SQLITE_FULL ? "; free some disk space" : "");
}

/* Runs a prepared statement whose parameters are bound; its row stays readable until reset. */
static int step(struct sqlite_store *s, enum stmt which)
{
    return sqlite3_step(s->stmts[which]);
}

static int run(struct sqlite_store *s, enum stmt which, struct err *err)
{
    int rc = step(s, which);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        fail(s, err);
    sqlite3_reset(s->stmts[which]);
    sqlite3_clear_bindings(s->stmts[which]);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : -1;
}

static void bind_text(struct sqlite_store *s, enum stmt which, int i, const char *text)
{
    sqlite3_bind_text(s->stmts[which], i, text, -1, SQLITE_STATIC);
}

static void bind_int(struct sqlite_store *s, enum stmt which, int i, int64_t v)
{
    sqlite3_bind_int64(s->stmts[which], i, v);
}

/* One number of the first row, or `none`. */
static int number(struct sqlite_store *s, enum stmt which, int64_t none, int64_t *out,
                  struct err *err)
{
    int rc = step(s, which);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(s->stmts[which], 0);
    else if (rc == SQLITE_DONE)
        *out = none;
    else
        fail(s, err);
    sqlite3_reset(s->stmts[which]);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}

static int exec(struct sqlite_store *s, const char *sql, struct err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, err);
}

/* The first column of a query's first row as text; "" when there is none. */
static int query_text(struct sqlite_store *s, const char *sql, char *dst, size_t cap,
                      struct err *err)
{
    sqlite3_stmt *q = NULL;
    dst[0] = 0;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        str_copy(dst, cap, (const char *)sqlite3_column_text(q, 0));
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        fail(s, err);
    sqlite3_finalize(q);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}

static int check_file(struct sqlite_store *s, struct err *err)
{
    static const char *const CLAIM_SUMS =
        "SELECT device FROM devices WHERE claimed <> coalesce((SELECT sum(bytes) FROM claims"
        " WHERE claims.device = devices.device), 0)";
    char text[160];
    if (query_text(s, "PRAGMA quick_check(1)", text, sizeof text, err))
        return -1;
    if (strcmp(text, "ok") != 0)
        return err_set(err, ERR_CORRUPT, "state file %.100s is damaged: %.100s", s->path, text);
    if (query_text(s, "PRAGMA foreign_key_check", text, sizeof text, err))
        return -1;
    if (text[0])
        return err_set(err, ERR_CORRUPT, "state file %.100s: a row of '%s' refers to nothing",
                       s->path, text);
    if (query_text(s, CLAIM_SUMS, text, sizeof text, err))
        return -1;
    if (text[0])
        return err_set(err, ERR_CORRUPT, "state file %.80s: the claims on '%.80s' do not add up",
                       s->path, text);
    return 0;
}

static int migrate(struct sqlite_store *s, struct err *err)
{
    char text[32];
    if (query_text(s, "PRAGMA user_version", text, sizeof text, err))
        return -1;
    size_t version = strtoul(text, NULL, 10);
    if (version > ARRAY_LEN(MIGRATIONS))
        return err_set(err, ERR_UNSUPPORTED,
                       "state file %.100s has schema version %zu, this program knows %zu: it was "
                       "written by a newer one",
                       s->path, version, ARRAY_LEN(MIGRATIONS));
    for (; version < ARRAY_LEN(MIGRATIONS); version++) {
        char set[64];
        str_copyf(set, sizeof set, "PRAGMA user_version = %zu; COMMIT", version + 1);
        if (exec(s, "BEGIN EXCLUSIVE", err) || exec(s, MIGRATIONS[version], err) ||
            exec(s, set, err)) {
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
            return -1;
        }
    }
    return 0;
}

/* The file holds secrets of groups: only its owner may read it, whatever the umask. */
static int make_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot open state file %.120s: %.60s", path, strerror(errno));
    int rc = fchmod(fd, 0600);
    close(fd);
    return rc ? err_set(err, ERR_IO, "cannot set the mode of %.120s: %.60s", path, strerror(errno))
              : 0;
}

static int connect_file(struct sqlite_store *s, struct err *err)
{
    if (make_file(s->path, err))
        return -1;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK)
        return fail(s, err);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    if (exec(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON",
             err) ||
        migrate(s, err) || check_file(s, err))
        return -1;
    for (int i = 0; i < STMT_COUNT; i++)
        if (sqlite3_prepare_v3(s->db, SQL[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmts[i], NULL) !=
            SQLITE_OK)
            return fail(s, err);
    return number(s, GET_REVISION, 0, &s->revision, err);
}

static int ensure(struct sqlite_store *s, struct err *err)
{
    if (s->db)
        return 0;
    int64_t known = s->revision;
    if (connect_file(s, err)) {
        disconnect(s);
        s->revision = known;
        return -1;
    }
    if (s->feed.fn && s->revision != known)
        s->feed.fn(s->feed.arg, s->revision, NULL, NULL, false);
    return 0;
}

/* Gives the connection up when the disk failed under it. */
static void drop_broken(struct sqlite_store *s)
{
    if (s->broken)
        disconnect(s);
}

static struct store *sqlite_open(const char *where, struct err *err)
{
    struct sqlite_store *s = mem_calloc(1, sizeof *s);
    s->base.driver = &STORE_SQLITE;
    s->path = mem_strdup(where);
    if (!ensure(s, err))
        return &s->base;
    free(s->path);
    free(s);
    return NULL;
}

static void sqlite_close(struct store *base)
{
    struct sqlite_store *s = of(base);
    disconnect(s);
    free(s->path);
    free(s);
}

static int find_revision(struct sqlite_store *s, const struct store_op *op, int64_t *revision,
                         struct err *err)
{
    bind_text(s, FIND, 1, op->kind);
    bind_text(s, FIND, 2, op->id);
    return number(s, FIND, 0, revision, err);
}

static int put(struct sqlite_store *s, const struct store_op *op, int64_t revision, struct err *err)
{
    enum stmt which = op->op == STORE_PUT_SPEC ? PUT_SPEC : PUT_STATUS;
    mem_auto char *text = store_doc_text(op, err);
    if (!text)
        return -1;
    bind_text(s, which, 1, op->kind);
    bind_text(s, which, 2, op->id);
    bind_int(s, which, 3, revision);
    bind_text(s, which, 4, text);
    return run(s, which, err);
}

static int claim(struct sqlite_store *s, const struct store_op *op, struct err *err)
{
    int64_t held = 0;
    bind_text(s, CLAIMED, 1, op->device);
    if (number(s, CLAIMED, 0, &held, err))
        return -1;
    if ((uint64_t)held + op->bytes > op->capacity)
        return err_set(err, ERR_CONFLICT, "device '%s': %llu bytes would be claimed of %llu",
                       op->device, (unsigned long long)held + op->bytes,
                       (unsigned long long)op->capacity);
    bind_text(s, SET_DEVICE, 1, op->device);
    bind_int(s, SET_DEVICE, 2, (int64_t)op->capacity);
    if (run(s, SET_DEVICE, err))
        return -1;
    bind_text(s, CLAIM, 1, op->device);
    bind_text(s, CLAIM, 2, op->id);
    bind_int(s, CLAIM, 3, (int64_t)op->bytes);
    return run(s, CLAIM, err);
}

static int apply(struct sqlite_store *s, const struct store_op *op, int64_t revision, bool *changed,
                 struct err *err)
{
    switch (op->op) {
    case STORE_PUT_SPEC:
    case STORE_PUT_STATUS:
        *changed = true;
        return put(s, op, revision, err);
    case STORE_DELETE:
        bind_text(s, DELETE, 1, op->kind);
        bind_text(s, DELETE, 2, op->id);
        if (run(s, DELETE, err))
            return -1;
        *changed = sqlite3_changes(s->db) > 0;
        return 0;
    case STORE_CLAIM:
        return claim(s, op, err);
    case STORE_UNCLAIM:
        bind_text(s, UNCLAIM, 1, op->id);
        return run(s, UNCLAIM, err);
    }
    return err_set(err, ERR_INTERNAL, "no store operation %d", (int)op->op);
}

static int transact(struct sqlite_store *s, const struct store_op *ops, size_t n, bool *changed,
                    struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        int64_t found = 0;
        if (ops[i].op == STORE_CLAIM || ops[i].op == STORE_UNCLAIM)
            continue;
        if (find_revision(s, &ops[i], &found, err) || store_check_expect(&ops[i], found, err))
            return -1;
    }
    for (size_t i = 0; i < n; i++)
        if (apply(s, &ops[i], s->revision + 1, &changed[i], err))
            return -1;
    bind_int(s, SET_REVISION, 1, s->revision + 1);
    return run(s, SET_REVISION, err) || run(s, COMMIT, err) ? -1 : 0;
}

/* Writes of the log that an earlier, failed sync may have left in memory go to the disk. */
static int sync_log(struct sqlite_store *s)
{
    mem_auto char *path = mem_printf("%s-wal", s->path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* The disk failed somewhere inside a commit. Its last frame may have reached the log all the same,
 * and then opening the file again replays it: so look, and make sure that it stays. */
static bool survived(struct sqlite_store *s)
{
    struct store_feed feed = s->feed;
    int64_t before = s->revision;
    disconnect(s);
    s->feed.fn = NULL;
    bool there = ensure(s, NULL) == 0 && s->revision == before + 1 && sync_log(s) == 0;
    s->feed = feed;
    s->revision = before; /* a caller that sees an error is told of the difference by ensure() */
    if (!there)
        disconnect(s);
    return there;
}

static int sqlite_commit(struct store *base, const struct store_op *ops, size_t n,
                         int64_t *revision, struct err *err)
{
    struct sqlite_store *s = of(base);
    if (store_check_ops(ops, n, err) || ensure(s, err))
        return -1;
    mem_auto bool *changed = mem_calloc(n, sizeof *changed);
    struct err e = {0};
    if (run(s, BEGIN, &e) || transact(s, ops, n, changed, &e)) {
        if (!s->broken && !sqlite3_get_autocommit(s->db))
            run(s, ROLLBACK, NULL);
        if (!s->broken || !survived(s))
            return err_set(err, e.code, "%.239s", e.msg);
    }
    s->revision++;
    if (revision)
        *revision = s->revision;
    store_notify(&s->feed, s->revision, ops, changed, n);
    return 0;
}

static int column_doc(struct sqlite_store *s, sqlite3_stmt *q, int i, json_t **out, struct err *err)
{
    const char *text = (const char *)sqlite3_column_text(q, i);
    *out = NULL;
    if (!text)
        return 0;
    *out = json_parse(text, (size_t)sqlite3_column_bytes(q, i), NULL);
    return *out ? 0 : err_set(err, ERR_CORRUPT, "state file %.100s holds a bad document", s->path);
}

/* The row that q stands on. */
static int read_object(struct sqlite_store *s, sqlite3_stmt *q, const char *kind,
                       struct store_object *out, struct err *err)
{
    *out = (struct store_object){.kind = mem_strdup(kind),
                                 .id = mem_strdup((const char *)sqlite3_column_text(q, 0)),
                                 .revision = sqlite3_column_int64(q, 1)};
    if (!column_doc(s, q, 2, &out->spec, err) && !column_doc(s, q, 3, &out->status, err))
        return 0;
    store_object_done(out);
    return -1;
}

static int sqlite_get(struct store *base, const char *kind, const char *id,
                      struct store_object *out, struct err *err)
{
    struct sqlite_store *s = of(base);
    if (ensure(s, err))
        return -1;
    bind_text(s, GET, 1, kind);
    bind_text(s, GET, 2, id);
    int rc = step(s, GET), result = -1;
    if (rc == SQLITE_ROW)
        result = read_object(s, s->stmts[GET], kind, out, err);
    else if (rc == SQLITE_DONE)
        err_fill(err, ERR_NOT_FOUND, "no %s '%.60s'", kind, id);
    else
        fail(s, err);
    sqlite3_reset(s->stmts[GET]);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        drop_broken(s);
    return result;
}

static int sqlite_list(struct store *base, const char *kind,
                       bool (*fn)(void *arg, const struct store_object *o), void *arg,
                       struct err *err)
{
    struct sqlite_store *s = of(base);
    sqlite3_stmt *q = NULL; /* its own: fn may use the store */
    if (ensure(s, err))
        return -1;
    int rc = sqlite3_prepare_v2(s->db,
                                "SELECT id, revision, spec, status FROM objects WHERE kind = ?1"
                                " ORDER BY id",
                                -1, &q, NULL);
    if (rc != SQLITE_OK)
        return fail(s, err);
    sqlite3_bind_text(q, 1, kind, -1, SQLITE_STATIC);
    int result = 0;
    bool more = true;
    while (!result && more && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct store_object o;
        result = read_object(s, q, kind, &o, err);
        if (result)
            break;
        more = fn(arg, &o);
        store_object_done(&o);
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        result = fail(s, err);
    sqlite3_finalize(q);
    if (result)
        drop_broken(s);
    return result;
}

static int sqlite_claimed(struct store *base, const char *device, uint64_t *bytes, struct err *err)
{
    struct sqlite_store *s = of(base);
    int64_t held = 0;
    if (ensure(s, err))
        return -1;
    bind_text(s, CLAIMED, 1, device);
    if (number(s, CLAIMED, 0, &held, err)) {
        drop_broken(s);
        return -1;
    }
    *bytes = (uint64_t)held;
    return 0;
}

static int64_t sqlite_revision(struct store *base)
{
    return of(base)->revision;
}

static void sqlite_on_change(struct store *base,
                             void (*fn)(void *arg, int64_t revision, const char *kind,
                                        const char *id, bool deleted),
                             void *arg)
{
    of(base)->feed = (struct store_feed){fn, arg};
}

const struct store_driver STORE_SQLITE = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .commit = sqlite_commit,
    .get = sqlite_get,
    .list = sqlite_list,
    .claimed = sqlite_claimed,
    .revision = sqlite_revision,
    .on_change = sqlite_on_change,
};
