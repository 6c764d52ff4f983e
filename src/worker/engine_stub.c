/* Stands in for llama-server and ggml-rpc-server in tests (its name decides which): the same
 * command lines, log lines, ports and ends, no model. What goes wrong is chosen by STUB: kv
 * llama-server finds no memory for the KV cache hang      it never opens its port dumb      it
 * loads, but answers generation with status 500 deaf      it ignores the first SIGTERM rpc-port the
 * rpc-server finds its port taken (and ends with status 0) slow      loading takes a second */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PEERS = 16 };

static bool mode(const char *name)
{
    const char *m = getenv("STUB");
    return m && strcmp(m, name) == 0;
}

static const char *option(char **argv, const char *name)
{
    for (; *argv; argv++)
        if (strcmp(*argv, name) == 0)
            return argv[1];
    return NULL;
}

static struct sockaddr_in loopback(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int listen_on(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in a = loopback(port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0)
        return -1;
    return fd;
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- rpc-server: one connection at a time ---- */

static int run_rpc(char **argv)
{
    int fd = mode("rpc-port") ? -1 : listen_on((unsigned)strtoul(option(argv, "-p"), NULL, 10));
    printf("Starting RPC server v8.0.0\n  endpoint       : 127.0.0.1\n  transport      : TCP\n");
    if (fd < 0) {
        fprintf(stderr, "Failed to create server socket\n");
        return 0;
    }
    for (;;) {
        char c[256];
        int conn = accept(fd, NULL, NULL);
        while (conn >= 0 && read(conn, c, sizeof c) > 0)
            ;
        close(conn);
    }
}

/* ---- llama-server ---- */

/* Connects to every endpoint and names its device as the real one does. */
static int connect_peers(const char *list, int fds[MAX_PEERS])
{
    int n = 0;
    for (const char *p = list; p && n < MAX_PEERS; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        unsigned port;
        if (sscanf(p, "127.0.0.1:%u", &port) != 1)
            exit(1);
        struct sockaddr_in a = loopback(port);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
            printf("Failed to connect to 127.0.0.1:%u\n", port);
            abort();
        }
        fds[n++] = fd;
        printf("load_tensors: RPC0[127.0.0.1:%u] model buffer size =    10.00 MiB\n", port);
        printf("llama_kv_cache: RPC0[127.0.0.1:%u] KV buffer size =     2.00 MiB\n", port);
        printf("sched_reserve: RPC0[127.0.0.1:%u] compute buffer size =     9.00 MiB\n", port);
        printf("sched_reserve: RPC0[127.0.0.1:%u] compute buffer size =     3.00 MiB\n", port);
    }
    return n;
}

static void answer(int fd, bool loaded)
{
    char in[4096];
    ssize_t n = read(fd, in, sizeof in - 1);
    in[n > 0 ? n : 0] = '\0';
    const char *status = "200 OK", *type = "application/json", *body = "{\"status\":\"ok\"}";
    if (!loaded) {
        status = "503 Service Unavailable";
        body = "{\"error\":{\"message\":\"Loading model\"}}";
    } else if (strstr(in, "/completion") && mode("dumb")) {
        status = "500 Internal Server Error";
        body = "{\"error\":{\"message\":\"no logits\"}}";
    } else if (strstr(in, "/completion")) {
        type = "text/event-stream";
        body = "data: {\"content\":\" a\",\"stop\":false}\n\ndata: {\"content\":\"\",\"stop\":true,"
               "\"timings\":{\"predicted_n\":16,\"predicted_per_second\":123.5}}\n\n";
    }
    dprintf(fd,
            "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
            status, type, strlen(body), body);
    shutdown(fd, SHUT_WR);
    while (read(fd, in, sizeof in) > 0)
        ;
    close(fd);
}

static void serve(int fd, const int *peers, int n_peers, long loaded_at)
{
    struct pollfd p[MAX_PEERS + 1] = {{.fd = fd, .events = POLLIN}};
    for (int i = 0; i < n_peers; i++)
        p[i + 1] = (struct pollfd){.fd = peers[i], .events = POLLIN};
    for (;;) {
        poll(p, (nfds_t)n_peers + 1, -1);
        for (int i = 1; i <= n_peers; i++)
            if (p[i].revents) {
                printf("Remote RPC server crashed or returned malformed response\n");
                abort();
            }
        if (p[0].revents)
            answer(accept(fd, NULL, NULL), now_ms() >= loaded_at);
    }
}

static void deaf(int signo)
{
    signal(signo, SIG_DFL);
}

static int run_server(char **argv)
{
    int peers[MAX_PEERS];
    if (mode("deaf"))
        signal(SIGTERM, deaf);
    int n = connect_peers(option(argv, "--rpc"), peers);
    printf("load_tensors:   CPU_Mapped model buffer size =     5.00 MiB\n");
    printf("weird bytes: \x1b[31m \xff\xfe end\n");
    if (mode("kv")) {
        printf("llama_init_from_model: failed to initialize the context: failed to allocate buffer "
               "for "
               "kv cache\n");
        return 1;
    }
    while (mode("hang"))
        pause();
    int fd = listen_on((unsigned)strtoul(option(argv, "--port"), NULL, 10));
    if (fd < 0) {
        printf("start: couldn't bind HTTP server socket, hostname: 127.0.0.1\n");
        return 1;
    }
    serve(fd, peers, n, now_ms() + (mode("slow") ? 1000 : 0));
    return 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strstr(argv[0], "rpc-server"))
        return run_rpc(argv);
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        return puts("version: 0.7.0 (build 11669, commit Debian)"), 0;
    if (argc > 1 && strcmp(argv[1], "--list-devices") == 0)
        return puts("Available devices:\n  (none)"), 0;
    return run_server(argv);
}
