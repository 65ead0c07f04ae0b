/* Transport stream packets (ISO/IEC 13818-1, 2.4.3): tables, PES packets and bare clock references, cut into 188 bytes.
 * Under ts_mux.c. Each function appends whole packets to `out` and returns 0, or -1 when it is full or memory is out
 * (then some packets may have been appended: the caller goes back). `counter`: the continuity counter of the next
 * packet. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;

/* A PSI section (2.4.4) in one packet; `body` is what lies between section_length and CRC_32. */
int ts_packet_write_section(struct buffer *out, int pid, uint8_t *counter, int table_id, const uint8_t *body,
                            size_t len_bytes);
/* A packet with nothing but a program clock reference (90 kHz units): its counter is that of the packet before. */
int ts_packet_write_clock(struct buffer *out, int pid, uint8_t next_counter, uint64_t clock);

struct ts_pes {
    int pid, stream_id;
    bool random_access; /* indicator on the first packet */
    bool has_clock;
    uint64_t clock, pts, dts; /* 90 kHz; of which 33 bits are written */
    const uint8_t *prefix, *data;
    size_t prefix_len, data_len;
};
int ts_packet_write_pes(struct buffer *out, const struct ts_pes *pes, uint8_t *counter);
