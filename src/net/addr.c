/* Socket addresses and sockets. */
#include "net/addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "base/str.h"
#include "os/file.h"

enum { BACKLOG = 1024 };

static int split(const char *addr, char host[256], char port[8], struct err *err)
{
    const char *colon = strrchr(addr, ':');
    const char *from = addr, *to = colon;
    if (colon && addr[0] == '[') {
        from = addr + 1;
        to = colon - 1;
        if (to < from || *to != ']')
            colon = NULL;
    } else if (colon && strchr(addr, ':') != colon) {
        colon = NULL; /* an IPv6 address without brackets: where its port starts is a guess */
    }
    uint64_t number;
    if (!colon || to - from >= 256 || num_u64(colon + 1, "port", 0, 65535, &number, NULL) != 0)
        return err_set(err, ERR_INVALID, "\"%.100s\" is not host:port", addr);
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    str_copyf(port, 8, "%u", (unsigned)number);
    return 0;
}

struct addrinfo *addr_resolve(const char *addr, bool passive, struct err *err)
{
    char host[256], port[8];
    if (split(addr, host, port, err) != 0)
        return NULL;
    if (!host[0] && !passive)
        return err_null(err, ERR_INVALID, "\"%.100s\" names no host", addr);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags =
                                 AI_NUMERICHOST | AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)};
    if (!host[0])
        hints.ai_family = AF_INET;
    struct addrinfo *list = NULL;
    const char *node = host[0] ? host : NULL;
    int rc = getaddrinfo(node, port, &hints, &list);
    if (rc == EAI_NONAME) {
        hints.ai_flags &= ~AI_NUMERICHOST;
        rc = getaddrinfo(node, port, &hints, &list);
    }
    if (rc != 0)
        return err_null(err, ERR_UNREACHABLE, "resolving \"%s\": %s", host,
                        rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    return list;
}

void addr_text(const struct sockaddr *sa, socklen_t n, char text[ADDR_TEXT])
{
    char host[48], port[8];
    if (getnameinfo(sa, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        str_copy(text, ADDR_TEXT, "unknown");
    else
        str_copyf(text, ADDR_TEXT, sa->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

uint16_t addr_port(int fd)
{
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss;
    getsockname(fd, (struct sockaddr *)&ss, &n);
    const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;
    return ntohs(ss.ss_family == AF_INET6 ? in6->sin6_port : in->sin_port);
}

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A token or an RPC answer must not wait for the one before it to be acknowledged. */
static void no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Not TCP_USER_TIMEOUT: it also counts a receiver that is alive and busy (a zero window). */
static void keep_alive(int fd)
{
    int one = 1, idle_s = 20, every_s = 10, probes = 4;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

int addr_listen(const char *addr, char text[ADDR_TEXT], struct err *err)
{
    struct addrinfo *list = addr_resolve(addr, true, err);
    if (!list)
        return -1;
    const struct addrinfo *ai = list; /* of a name with both ("localhost"), the IPv4 address */
    while (ai->ai_next && ai->ai_family != AF_INET)
        ai = ai->ai_next;
    int one = 1, fd = new_socket(ai->ai_family);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int errnum = errno;
        fd_close(fd);
        freeaddrinfo(list);
        if (errnum == EADDRINUSE)
            return err_set(err, ERR_CONFLICT, "%s is taken by another program", addr);
        return err_set(err, errnum == EADDRNOTAVAIL ? ERR_INVALID : ERR_IO, "listening on %s: %s",
                       addr, strerror(errnum));
    }
    freeaddrinfo(list);
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    getsockname(fd, (struct sockaddr *)&ss, &n);
    addr_text((struct sockaddr *)&ss, n, text);
    return fd;
}

int addr_connect(const struct addrinfo *ai)
{
    int fd = new_socket(ai->ai_family);
    if (fd < 0)
        return -1;
    no_delay(fd);
    keep_alive(fd);
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0 || errno == EINPROGRESS)
        return fd;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

int addr_connect_error(int fd)
{
    int errnum = 0;
    socklen_t n = sizeof errnum;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &n) != 0)
        return errno;
    return errnum;
}

int addr_accept(int listen_fd, char peer[ADDR_TEXT])
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    int fd = accept4(listen_fd, (struct sockaddr *)&ss, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -1;
    no_delay(fd);
    keep_alive(fd);
    if (peer)
        addr_text((struct sockaddr *)&ss, n, peer);
    return fd;
}
