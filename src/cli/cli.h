/* The command line: one cmd_*.c per subcommand. Each returns an exit status (base/err.h). */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stddef.h>

struct cli_command {
    const char *name;
    const char *summary;               /* one line of `stowage help` */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};
extern const struct cli_command CLI_COMMANDS[]; /* ended by a NULL name */

int cmd_demo_model(int argc, char **argv);
int cmd_engine(int argc, char **argv);
int cmd_plan(int argc, char **argv);

#endif
