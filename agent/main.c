/* SPDX-License-Identifier: Apache-2.0 */

/* The command line: serve, or one of the small sub-commands for operators. */

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/auth.h"
#include "agent/base/alloc.h"
#include "agent/base/log.h"
#include "agent/base/macros.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/openapi.h"
#include "agent/routes.h"
#include "build_config.h"

#define EXIT_USAGE 2

#define DEFAULT_TTL_S 3600

struct command {
        const char *name;
        int (*run)(int argc, char *const *argv); /* NULL: it has no options and only prints */
        void (*print)(FILE *out);
        const char *synopsis;
        const char *help;
};

static int complain(const char *message, int status)
{
        fprintf(stderr, "vm-agent: %s\n", message);
        return status;
}

static int serve(int argc, char *const *argv)
{
        CLEANUP(config_free) struct config *config = NULL;
        struct error err = ERROR_INIT;

        if (config_load(argc, argv, &config, &err) < 0)
                return complain(err.message, EXIT_USAGE);
        if (app_check(config, &err) < 0)
                return complain(err.message, EXIT_FAILURE);

        log_init((enum log_level)config->log_level, log_stderr_is_journal());
        return app_run(STEAL(config), argc, argv);
}

static int check_config(int argc, char *const *argv)
{
        CLEANUP(config_free) struct config *config = NULL;
        struct error err = ERROR_INIT;

        if (config_load(argc, argv, &config, &err) < 0)
                return complain(err.message, EXIT_USAGE);
        if (app_check(config, &err) < 0)
                return complain(err.message, EXIT_FAILURE);
        printf("configuration is valid: %s\n",
               config->config_file ? config->config_file : "no file was read");
        return EXIT_SUCCESS;
}

/* The value of "--name VALUE" or "--name=VALUE" at argv[*i], moving *i past it; NULL when it is another option. */
static const char *take_value(int argc, char *const *argv, int *i, const char *name)
{
        size_t size = strlen(name);

        if (strncmp(argv[*i], name, size) != 0)
                return NULL;
        if (argv[*i][size] == '=')
                return argv[*i] + size + 1;
        if (argv[*i][size] == '\0' && *i + 1 < argc)
                return argv[++*i];
        return NULL;
}

static int mint_token(int argc, char *const *argv)
{
        struct auth_options options = { .algorithm = "HS256" };
        CLEANUP(mem_free) char *token = NULL;
        const char *subject = "operator", *ttl = NULL, *value;
        struct error err = ERROR_INIT;
        uint64_t ttl_ms = DEFAULT_TTL_S * 1000;

        for (int i = 0; i < argc; i++) {
                if ((value = take_value(argc, argv, &i, "--jwt-secret-file")))
                        options.secret_file = value;
                else if ((value = take_value(argc, argv, &i, "--jwt-algorithm")))
                        options.algorithm = value;
                else if ((value = take_value(argc, argv, &i, "--jwt-audience")))
                        options.audience = value;
                else if ((value = take_value(argc, argv, &i, "--jwt-issuer")))
                        options.issuer = value;
                else if ((value = take_value(argc, argv, &i, "--sub")))
                        subject = value;
                else if ((value = take_value(argc, argv, &i, "--ttl")))
                        ttl = value;
                else {
                        fprintf(stderr,
                                "vm-agent: token: unknown option, or one without its value: %s\n",
                                argv[i]);
                        return EXIT_USAGE;
                }
        }
        if (!options.secret_file)
                return complain("token: --jwt-secret-file is required", EXIT_USAGE);
        if (ttl && (str_parse_duration_ms(ttl, &ttl_ms) < 0 || ttl_ms < 1000))
                return complain(
                        "token: --ttl: expected a duration of at least 1s, such as 3600 or 24h",
                        EXIT_USAGE);

        if (auth_mint(&options, subject, (int64_t)(ttl_ms / 1000), &token, &err) < 0)
                return complain(err.message, EXIT_FAILURE);
        puts(token);
        return EXIT_SUCCESS;
}

/* clang-format off */
static const struct command commands[] = {
        { "serve",            serve,        NULL,                   "[OPTIONS]", "Serve; the default" },
        { "token",            mint_token,   NULL,                   "--jwt-secret-file FILE [--ttl DURATION] [--sub ID]",
          "Print a token that is valid from now" },
        { "check-config",     check_config, NULL,                   "[OPTIONS]", "Check the configuration and the key, then exit" },
        { "config-reference", NULL,         config_print_reference, "",          "Print all options as Markdown" },
        { "config-example",   NULL,         config_print_example,   "",          "Print a commented configuration file" },
        { "config-man",       NULL,         config_print_man,       "",          "Print all options for the manual page" },
        { "routes",           NULL,         routes_print,           "",          "Print all endpoints" },
        { "openapi",          NULL,         openapi_print,          "",          "Print the OpenAPI document of all endpoints" },
};
/* clang-format on */

static void print_help(void)
{
        printf("vm-agent " VM_AGENT_VERSION
               ": runs code and commands in a sandbox for remote SDKs\n\nUsage:\n");
        for (size_t i = 0; i < ARRAY_LEN(commands); i++)
                printf("  vm-agent %s %s\n      %s.\n", commands[i].name, commands[i].synopsis,
                       commands[i].help);
        printf("  vm-agent --help | --version\n\n");
        config_print_help(stdout);
}

/* Process-wide settings that everything else relies on. */
static void prepare_process(void)
{
        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error of write() then */
        /* Large blocks (output, bodies) go back to the system when they are freed, whatever was freed before. */
        mallopt(M_MMAP_THRESHOLD, 128 * 1024);
        mallopt(M_ARENA_MAX, 2);
        json_object_seed(0); /* before there are threads */
}

static int run_command(const struct command *command, int argc, char *const *argv)
{
        if (command->run)
                return command->run(argc, argv);
        if (argc > 0) {
                fprintf(stderr, "vm-agent: %s takes no options\n", command->name);
                return EXIT_USAGE;
        }
        command->print(stdout);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
        const char *name = argc > 1 ? argv[1] : "";
        size_t i = 0;

        prepare_process();
        if (str_equal(name, "--help") || str_equal(name, "-h") || str_equal(name, "help")) {
                print_help();
                return EXIT_SUCCESS;
        }
        if (str_equal(name, "--version")) {
                puts("vm-agent " VM_AGENT_VERSION);
                return EXIT_SUCCESS;
        }
        if (argc < 2 || name[0] == '-')
                return serve(argc - 1, argv + 1);

        while (i < ARRAY_LEN(commands) && !str_equal(commands[i].name, name))
                i++;
        if (i == ARRAY_LEN(commands)) {
                fprintf(stderr, "vm-agent: unknown command '%s'; see vm-agent --help\n", name);
                return EXIT_USAGE;
        }
        return run_command(&commands[i], argc - 2, argv + 2);
}
