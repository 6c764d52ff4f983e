/* The subcommand table. */
#include "cli/cli.h"

const struct cli_command CLI_COMMANDS[] = {{0}};
