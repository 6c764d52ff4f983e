/* stowage: the subcommand table, help and version; the roles are composed in main_serve.c. */
#include "main.h"

#include "base/str.h"
#include "base/version.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

static const struct cli_command OWN[] = {
    {"serve", "run server, gateway and a worker on this machine", main_serve},
    {"worker", "run a worker that joins a server", main_worker},
    {"help", "this list; `stowage COMMAND --help` for one command", cmd_help},
    {"version", "the version of this program", cmd_version},
    {0},
};

static const struct cli_command *const TABLES[] = {OWN, CLI_COMMANDS};

static const struct cli_command *find(const char *name)
{
    for (size_t t = 0; t < sizeof TABLES / sizeof *TABLES; t++)
        for (const struct cli_command *c = TABLES[t]; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

static int unknown(const char *name)
{
    const char *names[64], *near;
    size_t n = 0;
    for (size_t t = 0; t < sizeof TABLES / sizeof *TABLES; t++)
        for (const struct cli_command *c = TABLES[t]; c->name; c++)
            if (n < sizeof names / sizeof *names)
                names[n++] = c->name;
    near = str_nearest(name, names, n);
    fprintf(stderr, "stowage: no command '%.60s'%s%s%s\n", name, near ? "; did you mean " : "",
            near ? near : "", near ? "?" : "");
    fputs("hint: stowage help\n", stderr);
    return 2;
}

static void print_commands(FILE *out)
{
    fputs("usage: stowage COMMAND [options]\n\n", out);
    for (size_t t = 0; t < sizeof TABLES / sizeof *TABLES; t++)
        for (const struct cli_command *c = TABLES[t]; c->name; c++)
            fprintf(out, "  %-12s %s\n", c->name, c->summary);
}

static int cmd_help(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stdout);
        return 0;
    }
    const struct cli_command *c = find(argv[1]);
    if (!c)
        return unknown(argv[1]);
    char help[] = "--help";
    char *ask[] = {argv[1], help, NULL};
    if (c->run != cmd_help && c->run != cmd_version)
        return c->run(2, ask);
    printf("usage: stowage %s\n\n%s\n", c->name, c->summary);
    return 0;
}

static int cmd_version(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--json") == 0)
        printf("{\"version\":\"%s\"}\n", STOWAGE_VERSION);
    else if (argc > 1 && strcmp(argv[1], "--help") == 0)
        puts("usage: stowage version [--json]");
    else if (argc > 1)
        return fprintf(stderr, "stowage: version takes no '%.60s'\n", argv[1]), 2;
    else
        puts("stowage " STOWAGE_VERSION);
    return 0;
}

int main(int argc, char **argv)
{
    /* A reader that leaves early (`stowage logs | head`) is seen as a failed write, and a peer that
     * closes its socket must not end the process. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_commands(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct cli_command *c = find(name);
    return c ? c->run(argc - 1, argv + 1) : unknown(name);
}
