/* SPDX-License-Identifier: Apache-2.0 */

/* Network interfaces, one by one, with all their addresses. The kernel tells an address at a time. */

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/str.h"
#include "agent/host/facts.h"

static struct host_link *find(struct host_facts *facts, const struct ifaddrs *i)
{
        struct host_link *l;

        for (size_t n = 0; n < facts->n_links; n++)
                if (str_equal(facts->links[n].name, i->ifa_name))
                        return &facts->links[n];
        if (facts->n_links == HOST_MAX_LINKS)
                return NULL;
        l = &facts->links[facts->n_links++];
        (void)snprintf(l->name, sizeof(l->name), "%s", i->ifa_name);
        l->is_up = (i->ifa_flags & IFF_UP) != 0;
        l->is_loopback = (i->ifa_flags & IFF_LOOPBACK) != 0;
        return l;
}

static void set_mac(struct host_link *l, const struct sockaddr_ll *address)
{
        const unsigned char *m = address->sll_addr;

        if (address->sll_halen == 6 && !l->is_loopback)
                (void)snprintf(l->mac, sizeof(l->mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1],
                               m[2], m[3], m[4], m[5]);
}

static void add_ip(struct host_link *l, const struct sockaddr *address)
{
        char ip[HOST_NAME_SIZE];
        socklen_t size = address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                       : sizeof(struct sockaddr_in6);

        if (getnameinfo(address, size, ip, sizeof(ip), NULL, 0, NI_NUMERICHOST) != 0)
                return;
        if (l->n_ips < HOST_MAX_IPS)
                memcpy(l->ips[l->n_ips++], ip, sizeof(ip));
        /* Version 4 goes first: the kernel tells those first. */
        if (!*l->ip)
                memcpy(l->ip, ip, sizeof(ip));
}

/* See the header. */
void host_links_read(struct host_facts *ret)
{
        struct ifaddrs *all;

        if (getifaddrs(&all) < 0)
                return;
        for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
                struct host_link *l = find(ret, i);

                if (!l || !i->ifa_addr)
                        continue;
                if (i->ifa_addr->sa_family == AF_PACKET)
                        set_mac(l, (const struct sockaddr_ll *)(const void *)i->ifa_addr);
                else if (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6)
                        add_ip(l, i->ifa_addr);
        }
        freeifaddrs(all);
}
