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

int cmd_apply(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_defrag(int argc, char **argv);
int cmd_demo_model(int argc, char **argv);
int cmd_deploy(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_engine(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_gpus(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_label(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_nodes(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_scale(int argc, char **argv);
int cmd_size(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_token(int argc, char **argv);
int cmd_undrain(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_whatif(int argc, char **argv);

#endif
