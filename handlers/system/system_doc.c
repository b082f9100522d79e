/* SPDX-License-Identifier: Apache-2.0 */

/* What GET /system answers. */

#include "handlers/system/system.h"

#include "agent/http/route_doc.h"

/* clang-format off */
static const struct shape os_shape[] = {
        S_STRING("name",     .example = "\"Debian GNU/Linux\"", .doc = "Name of the system"),
        S_STRING("version",  .example = "\"12 (bookworm)\"", .doc = "Its version; empty where it has none"),
        S_STRING("id",       .example = "\"debian\"", .doc = "Its name for programs"),
        S_STRING("kernel",   .example = "\"6.1.0-18-amd64\"", .doc = "Release of the kernel"),
        S_STRING("arch",     .example = "\"amd64\"",
                  .doc = "Architecture: amd64, arm64, or what the kernel calls it"),
        S_STRING("hostname", .example = "\"sandbox\"", .doc = "Name of the machine or of the container"),
        S_STRING("timezone", .example = "\"Etc/UTC\"", .doc = "Time zone of the system"),
        S_END
};

static const struct shape hardware_shape[] = {
        S_INTEGER("cpu_cores", .min = 1, .example = "2",
                  .doc = "Processors that may be used, a part of one counted as a whole one"),
        S_STRING ("cpu_model", .example = "\"AMD EPYC\"", .doc = "Empty where the kernel does not tell"),
        S_INTEGER("memory_mb", .example = "4096", .doc = "Memory that may be used, in MiB"),
        S_INTEGER("disk_mb",   .example = "51200",
                  .doc = "Size of the workspace's file system, in MiB; 0 while it is not known"),
        S_END
};

static const struct shape interface_shape[] = {
        S_STRING("name",      .example = "\"eth0\"", .doc = "Name of the interface"),
        S_STRING("ip",        .example = "\"172.17.0.2\"",
                  .doc = "Its first address, an IPv4 one if it has any, or empty"),
        S_STRING("mac",       .example = "\"02:42:ac:11:00:02\"", .doc = "Its hardware address, or empty"),
        S_LIST  ("addresses", S_ITEM(SHAPE_STRING), .example = "[\"172.17.0.2\"]",
                  .doc = "All its addresses, eight at most"),
        S_BOOL  ("up",        .example = "true", .doc = "Is it switched on?"),
        S_BOOL  ("loopback",  .example = "false", .doc = "Does it lead to this machine itself?"),
        S_END
};

static const struct shape network_shape[] = {
        S_LIST   ("interfaces", S_ITEM_OF(SHAPE_OBJECT, interface_shape),
                  .doc = "Those with addresses first, the loopback last"),
        S_STRING ("hostname",   .example = "\"sandbox\"", .doc = "The same as os.hostname"),
        S_INTEGER("rx_bytes",   .example = "2825245",
                  .doc = "Received by all interfaces but the loopback since they exist"),
        S_INTEGER("rx_packets", .example = "11501", .doc = "Likewise, in packets"),
        S_INTEGER("tx_bytes",   .example = "1108024", .doc = "Sent, likewise"),
        S_INTEGER("tx_packets", .example = "9179", .doc = "Likewise, in packets"),
        S_END
};

static const struct shape environment_shape[] = {
        S_STRING("shell",       .example = "\"/bin/bash\"", .doc = "SHELL of what is executed"),
        S_STRING("path",        .example = "\"/usr/local/bin:/usr/bin:/bin\"", .doc = "PATH of what is executed"),
        S_STRING("user",        .example = "\"root\"", .doc = "As whom it is executed"),
        S_STRING("home",        .example = "\"/root\"", .doc = "HOME of what is executed"),
        S_STRING("working_dir", .example = "\"/workspace\"",
                  .doc = "Where it is executed unless a request says otherwise"),
        S_MAP   ("environment", S_ITEM(SHAPE_STRING), .example = "{\"LANG\": \"C.UTF-8\"}",
                 .doc = "Its variables, as GET /env shows them; empty for requests without a valid token"),
        S_END
};

static const struct shape cpu_shape[] = {
        S_NUMBER ("usage_percent", .example = "12.5",
                  .doc = "Share of the cores that was busy in the last second, 0 to 100"),
        S_NUMBER ("cores",         .example = "1.5",
                  .doc = "Processors that may be used, with the container's quota"),
        S_INTEGER("online",        .min = 1, .example = "64", .doc = "Processors of the machine"),
        S_BOOL   ("limited",       .example = "true", .doc = "May fewer be used than the machine has?"),
        S_LIST   ("load_average",  S_ITEM(SHAPE_NUMBER), .example = "[0.3, 0.2, 0.1]",
                  .doc = "Processes that run or want to, on average over 1, 5 and 15 minutes"),
        S_END
};

static const struct shape memory_shape[] = {
        S_INTEGER("total",         .example = "4294967296",
                  .doc = "Bytes that may be used: the container's limit, or what the machine has"),
        S_INTEGER("used",          .example = "1073741824",
                  .doc = "Bytes in use, without caches that the kernel can drop"),
        S_INTEGER("free",          .example = "3221225472", .doc = "Bytes: total less used"),
        S_NUMBER ("usage_percent", .example = "25.0", .doc = "Share of total that is used, 0 to 100"),
        S_BOOL   ("limited",       .example = "true", .doc = "Is total a container's limit?"),
        S_END
};

static const struct shape swap_shape[] = {
        S_INTEGER("total",         .example = "0", .doc = "Bytes; 0: there is no swap"),
        S_INTEGER("used",          .example = "0", .doc = "Bytes"),
        S_INTEGER("free",          .example = "0", .doc = "Bytes"),
        S_NUMBER ("usage_percent", .example = "0.0", .doc = "Share of total that is used, 0 to 100"),
        S_END
};

static const struct shape disk_shape[] = {
        S_STRING ("mount",         .example = "\"/\"", .doc = "Where it is mounted"),
        S_STRING ("type",          .example = "\"ext4\"", .doc = "Type of the file system, or empty"),
        S_INTEGER("total",         .example = "53687091200", .doc = "Bytes"),
        S_INTEGER("used",          .example = "5368709120", .doc = "Bytes"),
        S_INTEGER("free",          .example = "45634027520",
                  .doc = "Bytes that users other than root may still write"),
        S_NUMBER ("usage_percent", .example = "10.5", .doc = "used of used and free, as df shows it, 0 to 100"),
        S_END
};

static const struct shape system_shape[] = {
        S_OBJECT ("os",           os_shape, .doc = "The operating system"),
        S_OBJECT ("hardware",     hardware_shape, .doc = "What there is, within the container's limits"),
        S_OBJECT ("network",      network_shape, .doc = "Interfaces, and what went through them"),
        S_OBJECT ("environment",  environment_shape, .doc = "Where and as whom code and commands are executed"),
        S_LIST   ("capabilities", S_ITEM(SHAPE_STRING), .example = "[\"code_execution\", \"python\"]",
                  .doc = "What this agent can do: the features of GET /info that are true, and the languages"),
        S_OBJECT ("cpu",          cpu_shape, .doc = "Processors"),
        S_OBJECT ("memory",       memory_shape, .doc = "Memory"),
        S_OBJECT ("swap",         swap_shape, .doc = "Memory on the disk"),
        S_OBJECT ("disk",         disk_shape, .nullable = true,
                  .doc = "The workspace's file system; null while it does not answer"),
        S_LIST   ("disks",        S_ITEM_OF(SHAPE_OBJECT, disk_shape),
                  .doc = "All file systems on disks, the workspace's first; 32 at most"),
        S_INTEGER("uptime",       .example = "86400", .doc = "Seconds since the machine was started"),
        S_INTEGER("uptime_seconds", .example = "86400", .doc = "The same"),
        S_INTEGER("agent_uptime_seconds", .example = "86390", .doc = "Seconds since the agent was started"),
        S_TIME   ("sampled_at",   .nullable = true, .doc = "When the readings were taken; null: there are none yet"),
        S_TIME   ("timestamp",    .doc = "When this was answered"),
        S_END
};
/* clang-format on */

static const struct route_reply replies[] = {
        { 200, NULL, system_shape, "The machine and its readings" },
        { 0 },
};

static const enum problem problems[] = { PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE, N_PROBLEMS };

const struct route_doc system_get_doc = {
        .description =
                "What machine this is and how it is doing, seen from inside its container: with 2 of 64 "
                "processors and 4 GiB it says 2 and 4 GiB. Readings are at most some seconds old: they are "
                "taken every second while somebody asks, and the first who asks after a pause waits for "
                "them for about a twentieth of a second.\n\n"
                "It is open to all unless the option public-info is off; the values of environment "
                "variables are shown to requests with a valid token only.",
        .replies = replies,
        .problems = problems,
};
