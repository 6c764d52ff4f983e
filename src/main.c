/* stowage: the subcommand table and the composition of roles; nothing else. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    for (const struct cli_command *c = CLI_COMMANDS; argc > 1 && c->name; c++)
        if (strcmp(c->name, argv[1]) == 0)
            return c->run(argc - 1, argv + 1);
    fputs("stowage: no such command\n", stderr);
    return 2;
}
