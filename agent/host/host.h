/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What machine this is and how it is doing: of the container's share where there is one, so that a container with 2 of
 * 64 processors says 2. All of it is read by worker threads, every second while somebody asks and not at all when
 * nobody has for a while: an idle agent wakes nothing up. Who asks gets the last readings, at once; those who would
 * rather have fresh ones wait for them with host_wait. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/list.h"

struct host;
struct loop;

#define HOST_FRESH_MS   2500  /* readings up to this age are as good as new ones */
#define HOST_IDLE_MS    30000 /* so long after the last question they go on */
#define HOST_MAX_DISKS  32
#define HOST_MAX_LINKS  64 /* network interfaces */
#define HOST_MAX_IPS    8  /* addresses of one of them */
#define HOST_NAME_SIZE  64
#define HOST_TEXT_SIZE  256
#define HOST_MOUNT_SIZE 256

/* A file system that files can be written to. */
struct host_disk {
        char mount[HOST_MOUNT_SIZE]; /* where it is mounted; what is longer is cut */
        char type[HOST_NAME_SIZE];   /* "ext4"; "" where nobody knows */
        uint64_t total;              /* bytes, as all the following */
        uint64_t used;
        uint64_t free; /* that users other than root may still write */
};

struct host_swap {
        uint64_t total; /* bytes */
        uint64_t used;
        uint64_t free;
};

/* Since the start of the network namespace: all interfaces but the loopback. */
struct host_network {
        uint64_t rx_bytes;
        uint64_t rx_packets;
        uint64_t tx_bytes;
        uint64_t tx_packets;
};

struct host_sample {
        int64_t sampled_at_ms; /* since the epoch; 0: there are no readings yet, all else is zero */
        double cpu_percent;    /* of cpu_cores, 0 to 100, between the last two readings */
        double cpu_cores;      /* that may be used: 2, or 1.5 */
        unsigned cpus_online;  /* of the machine */
        bool is_cpu_limited;   /* by a quota or to some of the machine's processors */
        bool is_memory_limited; /* memory_total is the container's limit, not the machine's memory */
        uint64_t memory_total;  /* bytes, as all the following */
        uint64_t memory_used;   /* without what the kernel can drop: caches of files */
        uint64_t memory_free;   /* total less used */
        struct host_swap swap;
        struct host_network network;
        double load[3];        /* of the last 1, 5 and 15 minutes */
        uint64_t uptime_s;     /* of the machine */
        bool has_disk;         /* false until the workspace's file system has answered */
        struct host_disk disk; /* that of the workspace */
        struct host_disk disks[HOST_MAX_DISKS]; /* the same one first, then what else is mounted */
        size_t n_disks;
};

struct host_link {
        char name[HOST_NAME_SIZE];
        char mac[HOST_NAME_SIZE]; /* "02:42:ac:11:00:02", or "" */
        char ip[HOST_NAME_SIZE];  /* the first IPv4 address, else the first of the others, or "" */
        char ips[HOST_MAX_IPS][HOST_NAME_SIZE]; /* all of them */
        size_t n_ips;
        bool is_up;
        bool is_loopback;
};

/* What hardly ever changes. */
struct host_facts {
        bool is_known;                   /* false until it has been read: all texts are empty */
        char os_name[HOST_TEXT_SIZE];    /* "Debian GNU/Linux" */
        char os_version[HOST_TEXT_SIZE]; /* "12 (bookworm)" */
        char os_id[HOST_TEXT_SIZE];      /* "debian" */
        char kernel[HOST_TEXT_SIZE];
        char arch[HOST_TEXT_SIZE]; /* "amd64", "arm64", or what the kernel calls it */
        char hostname[HOST_TEXT_SIZE];
        char timezone[HOST_TEXT_SIZE]; /* "Europe/Berlin", "UTC" */
        char cpu_model[HOST_TEXT_SIZE];
        struct host_link links[HOST_MAX_LINKS];
        size_t n_links;
};

/* @disk_path: a file of the file system that is meant by "the disk"; copied. */
struct host *host_new(struct loop *l, const char *disk_path);
/* The same, with all files of /proc, /sys and /etc below the directory @root: for tests. */
struct host *host_new_below(struct loop *l, const char *root, const char *disk_path);
/* Who still waits is told, at once; the workers' last readings may end later. NULL is fine. Returns NULL. */
struct host *host_free(struct host *h);

/* The last readings; never NULL, and valid until control returns to the loop. Never blocks. Starts the sampling, if
 * nobody has asked for long; so the first who asks sees old readings, or none (sampled_at_ms). */
const struct host_sample *host_sample(struct host *h);
/* The same for what hardly ever changes; it is read again when it is older than HOST_IDLE_MS. */
const struct host_facts *host_facts(struct host *h);

/* Who waits for fresh readings; embedded in an object of the caller's, which must live until @ready is called. */
struct host_wait {
        struct list link;
        void (*ready)(struct host_wait *w); /* once, on the loop */
};

/* 0: there are fresh readings already, and @ready is not going to be called. 1: it is, as soon as there are, which
 * takes about a twentieth of a second. -EBUSY: so many wait (LIMIT_HOST_WAITING) that this one may not. */
int host_wait(struct host *h, struct host_wait *w);
/* The same for who needs only what hardly ever changes: it is fresh up to an age of HOST_IDLE_MS. */
int host_wait_facts(struct host *h, struct host_wait *w);

/* The machine has stood still, and may be another one now, with another name and other addresses: who asks next waits
 * until it has been looked at again. NULL is fine. */
void host_resumed(struct host *h);
