/* The node's identity file, and its own address. */
#include "worker/identity.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { FILE_MAX = 64 << 10 };

static int parse(struct identity *i, const char *text, size_t n, struct err *err)
{
    json_auto_t *doc = json_parse(text, n, err);
    if (!doc || JSON_COPY(doc, "id", true, i->id, err) || JSON_COPY(doc, "key", true, i->key, err))
        return -1;
    /* The id becomes part of paths of the API. */
    if (!i->id[0] || strpbrk(i->id, "/?#% ") || strpbrk(i->key, "\r\n"))
        return err_set(err, ERR_CORRUPT, "id or key is malformed");
    return 0;
}

int identity_load(struct identity *i, const char *state_dir, struct err *err)
{
    mem_auto char *path = mem_printf("%s/node.json", state_dir), *text = NULL;
    size_t n;
    struct identity got = {0};
    if (file_read(path, FILE_MAX, &text, &n, err))
        return -1;
    struct err why = {0};
    if (parse(&got, text, n, &why))
        return err_set(err, ERR_CORRUPT, "%s: %.100s (remove it to join anew)", path, why.msg);
    *i = got;
    return 0;
}

int identity_save(const struct identity *i, const char *state_dir, struct err *err)
{
    mem_auto char *path = mem_printf("%s/node.json", state_dir);
    json_auto_t *doc = json_object();
    json_put_str(doc, "id", i->id);
    json_put_str(doc, "key", i->key);
    mem_auto char *text = json_text(doc);
    return file_write(path, text, strlen(text), 0600, err);
}

/* Host and port of "http://HOST[:PORT][/...]". */
static bool split_url(const char *url, char *host, size_t host_cap, char *port, size_t port_cap)
{
    const char *p = strstr(url, "://");
    bool tls = strncmp(url, "https", 5) == 0;
    p = p ? p + 3 : url;
    const char *end = p + strcspn(p, "/?#"), *colon = memrchr(p, ':', (size_t)(end - p));
    if (*p == '[') { /* an IPv6 address: its own colons are inside the brackets */
        const char *close = memchr(p, ']', (size_t)(end - p));
        if (!close)
            return false;
        colon = close[1] == ':' ? close + 1 : NULL;
        str_copyf(host, host_cap, "%.*s", (int)(close - p - 1), p + 1);
    } else {
        str_copyf(host, host_cap, "%.*s", (int)((colon ? colon : end) - p), p);
    }
    bool fits = colon ? str_copyf(port, port_cap, "%.*s", (int)(end - colon - 1), colon + 1)
                      : str_copy(port, port_cap, tls ? "443" : "80");
    return fits && host[0];
}

int identity_own_host(const char *url, char *dst, size_t cap, struct err *err)
{
    char host[256], port[16];
    if (!split_url(url, host, sizeof host, port, sizeof port))
        return err_set(err, ERR_INVALID, "'%.100s' has no host", url);
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_UNREACHABLE, "host '%.100s': %s", host, gai_strerror(rc));
    struct sockaddr_storage own = {0};
    socklen_t n = sizeof own;
    fd_auto int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok =
        fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
        getsockname(fd, (struct sockaddr *)&own, &n) == 0 &&
        getnameinfo((struct sockaddr *)&own, n, dst, (socklen_t)cap, NULL, 0, NI_NUMERICHOST) == 0;
    freeaddrinfo(found);
    return ok ? 0 : err_set(err, ERR_UNREACHABLE, "no way from here to '%.100s'", host);
}

static bool is_wildcard(const char *listen)
{
    return strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0 ||
           listen[0] == ':';
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

/* The server is on this machine, but other nodes are not: what the default route would use
 * (192.0.2.1 is an address of documentation; nothing is sent), else the first interface that is up.
 */
static void prefer_outside(char *host, size_t cap)
{
    char other[64];
    if (identity_own_host("http://192.0.2.1:9", other, sizeof other, NULL) == 0 &&
        !is_loopback(other)) {
        str_copy(host, cap, other);
        return;
    }
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
            (i->ifa_flags & IFF_LOOPBACK) ||
            getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in), other, sizeof other, NULL, 0,
                        NI_NUMERICHOST) != 0)
            continue;
        str_copy(host, cap, other);
        break;
    }
    freeifaddrs(all);
}

int identity_address(const char *url, const char *advertise, const char *listen, char *dst,
                     size_t cap, struct err *err)
{
    char host[256];
    if (advertise && *advertise) {
        STR_COPY(host, advertise);
    } else {
        if (identity_own_host(url, host, sizeof host, err) < 0)
            return -1;
        if (is_loopback(host) && is_wildcard(listen))
            prefer_outside(host, sizeof host);
    }
    const char *port = strrchr(listen, ':');
    bool v6 = strchr(host, ':') && host[0] != '[';
    if (!port || !str_copyf(dst, cap, v6 ? "[%s]%s" : "%s%s", host, port))
        return err_set(err, ERR_INVALID, "no address from host '%.80s' and '%.60s'", host, listen);
    return 0;
}
