/* SPDX-License-Identifier: Apache-2.0 */

/* Names: of the system, the kernel, the machine, its processor and its time zone. */

#include "agent/host/facts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"
#include "agent/host/text.h"

static void copy(char dst[HOST_TEXT_SIZE], const char *text)
{
        (void)snprintf(dst, HOST_TEXT_SIZE, "%s", text);
}

/* The value of a shell's assignment, as os-release has them: NAME="Debian GNU/Linux". */
static void copy_value(char dst[HOST_TEXT_SIZE], const char *s)
{
        char quote = *s == '"' || *s == '\'' ? *s++ : '\0';
        size_t n = 0;

        for (; *s && *s != quote && n < HOST_TEXT_SIZE - 1; s++) {
                if (*s == '\\' && s[1])
                        s++;
                dst[n++] = *s;
        }
        dst[n] = '\0';
}

static bool take(const char *line, const char *key, char dst[HOST_TEXT_SIZE])
{
        if (!str_has_prefix(line, key))
                return false;
        copy_value(dst, line + strlen(key));
        return true;
}

static void read_os(const char *root, struct host_facts *ret)
{
        CLEANUP(buf_done) struct buf text = { 0 };
        char number[HOST_TEXT_SIZE] = "";
        char *rest, *line;

        copy(ret->os_name, "Linux");
        if (host_text_read(root, "/etc/os-release", &text) < 0 &&
            host_text_read(root, "/usr/lib/os-release", &text) < 0)
                return;
        rest = text.data;
        while ((line = host_text_line(&rest)) != NULL)
                (void)(take(line, "NAME=", ret->os_name) ||
                       take(line, "VERSION=", ret->os_version) || take(line, "ID=", ret->os_id) ||
                       take(line, "VERSION_ID=", number));
        if (!*ret->os_version)
                copy(ret->os_version, number);
}

/* As Go and container registries call them. */
static const char *architecture(const char *machine)
{
        if (str_equal(machine, "x86_64"))
                return "amd64";
        if (str_equal(machine, "aarch64"))
                return "arm64";
        return machine;
}

static void read_kernel(struct host_facts *ret)
{
        struct utsname name;

        if (uname(&name) < 0)
                return;
        copy(ret->kernel, name.release);
        copy(ret->arch, architecture(name.machine));
        copy(ret->hostname, name.nodename);
}

/* "/usr/share/zoneinfo/Europe/Berlin" is Europe/Berlin. */
static bool read_zone_link(const char *root, char dst[HOST_TEXT_SIZE])
{
        CLEANUP(mem_free) char *path = xasprintf("%s/etc/localtime", root);
        char target[PATH_MAX];
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        const char *zone;

        if (n <= 0)
                return false;
        target[n] = '\0';
        zone = strstr(target, "zoneinfo/");
        if (!zone)
                return false;
        copy(dst, zone + strlen("zoneinfo/"));
        return *dst != '\0';
}

static void read_timezone(const char *root, char dst[HOST_TEXT_SIZE])
{
        CLEANUP(buf_done) struct buf text = { 0 };
        const char *zone = getenv("TZ");

        if (zone && *zone) {
                copy(dst, *zone == ':' ? zone + 1 : zone);
        } else if (!read_zone_link(root, dst)) {
                if (host_text_read(root, "/etc/timezone", &text) == 0)
                        text.data[strcspn(text.data, "\n")] = '\0';
                copy(dst, text.data && *text.data ? text.data : "UTC");
        }
}

/* What is behind "model name: ", with blanks before the colon, if @line is about @key. */
static const char *value_of(const char *line, const char *key)
{
        const char *s = line + strlen(key);

        if (!str_has_prefix(line, key))
                return NULL;
        s += strspn(s, " \t");
        if (*s != ':')
                return NULL;
        return s + 1 + strspn(s + 1, " \t");
}

/* Architectures call it differently; where nothing is known, it stays empty. The first processor speaks for all: the
 * text of all of them may be long. */
static void read_cpu_model(const char *root, char dst[HOST_TEXT_SIZE])
{
        static const char *const keys[] = { "model name", "Model", "Hardware", "Processor",
                                            "cpu model",  "cpu",   "uarch" };
        CLEANUP(mem_free) char *path = xasprintf("%s/proc/cpuinfo", root), *line = NULL;
        FILE *f = fopen(path, "re");
        size_t size = 0;

        while (f && !*dst && getline(&line, &size, f) > 0) {
                line[strcspn(line, "\n")] = '\0';
                for (size_t i = 0; i < ARRAY_LEN(keys) && !*dst; i++) {
                        const char *value = value_of(line, keys[i]);

                        if (value)
                                copy(dst, value);
                }
        }
        if (f)
                fclose(f);
}

/* See the header. */
void host_facts_read(const char *root, struct host_facts *ret)
{
        memset(ret, 0, sizeof(*ret));
        read_os(root, ret);
        read_kernel(ret);
        read_timezone(root, ret->timezone);
        read_cpu_model(root, ret->cpu_model);
        host_links_read(ret);
        ret->is_known = true;
}
