/* How many connections an address has. IPv6 counts by /64, since a host has all of that. Loop thread only. */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_KEY_SIZE 16

struct address_table;

/* `max_addresses`: never more than that are remembered at once. */
struct address_table *address_table_create(unsigned max_addresses);
void address_table_destroy(struct address_table *table);
/* The part of an address that is counted: 16 bytes, zero for what is neither IPv4 nor IPv6. */
void address_key(const struct sockaddr *address, uint8_t out[ADDRESS_KEY_SIZE]);
/* 0, or -1: that address has `max` already, or the table is full. */
int address_table_add(struct address_table *table, const uint8_t key[ADDRESS_KEY_SIZE], unsigned max)
    __attribute__((warn_unused_result));
void address_table_remove(struct address_table *table, const uint8_t key[ADDRESS_KEY_SIZE]);
