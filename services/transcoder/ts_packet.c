/* See ts_packet.h. */
#include "services/transcoder/ts_packet.h"

#include "libcommon/buffer.h"
#include "services/transcoder/ts_mux.h"

#include <assert.h>
#include <string.h>

enum {
    HEADER_SIZE = 4,
    CLOCK_FIELD_SIZE = 6,
    SECTION_HEADER_SIZE = 3,
    CRC_SIZE = 4,
    PES_START_SIZE = 9,
    PES_MAX_HEADER_SIZE = PES_START_SIZE + 10,
    PES_MAX_LENGTH = 0xffff,
    START_INDICATOR = 0x40,
    HAS_PAYLOAD = 0x10,
    HAS_ADAPTATION = 0x20,
    RANDOM_ACCESS = 0x40,
    HAS_PCR = 0x10,
};

/* Annex A: polynomial 0x04c11db7, no reflection, no final inversion. */
static uint32_t section_crc(const uint8_t *bytes, size_t len_bytes)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < len_bytes; i++) {
        crc ^= (uint32_t)bytes[i] << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x80000000 ? crc << 1 ^ 0x04c11db7 : crc << 1;
    }
    return crc;
}

static uint8_t *begin_packet(struct buffer *out, int pid, bool start, int content, uint8_t counter)
{
    uint8_t *packet = buffer_reserve(out, TS_PACKET_SIZE);

    if (!packet)
        return NULL;
    packet[0] = 0x47;
    packet[1] = (uint8_t)((start ? START_INDICATOR : 0) | pid >> 8);
    packet[2] = (uint8_t)pid;
    packet[3] = (uint8_t)(content | (counter & 15));
    return packet;
}

/* 2.4.3.5: base in 90 kHz; the extension in 27 MHz is 0. */
static void write_pcr(uint8_t *at, uint64_t clock)
{
    at[0] = (uint8_t)(clock >> 25);
    at[1] = (uint8_t)(clock >> 17);
    at[2] = (uint8_t)(clock >> 9);
    at[3] = (uint8_t)(clock >> 1);
    at[4] = (uint8_t)((clock & 1) << 7 | 0x7e);
    at[5] = 0;
}

int ts_packet_write_section(struct buffer *out, int pid, uint8_t *counter, int table_id, const uint8_t *body,
                            size_t len_bytes)
{
    uint8_t *packet = begin_packet(out, pid, true, HAS_PAYLOAD, *counter);

    assert(HEADER_SIZE + 1 + SECTION_HEADER_SIZE + len_bytes + CRC_SIZE <= TS_PACKET_SIZE);
    if (!packet)
        return -1;
    memset(packet + HEADER_SIZE, 0xff, TS_PACKET_SIZE - HEADER_SIZE);
    uint8_t *section = packet + HEADER_SIZE + 1;
    section[-1] = 0; /* pointer_field */
    section[0] = (uint8_t)table_id;
    section[1] = 0xb0;
    section[2] = (uint8_t)(len_bytes + CRC_SIZE);
    memcpy(section + SECTION_HEADER_SIZE, body, len_bytes);
    size_t covered = SECTION_HEADER_SIZE + len_bytes;
    uint32_t crc = section_crc(section, covered);
    for (int i = 0; i < CRC_SIZE; i++)
        section[covered + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    buffer_commit(out, TS_PACKET_SIZE);
    *counter = (*counter + 1) & 15;
    return 0;
}

int ts_packet_write_clock(struct buffer *out, int pid, uint8_t next_counter, uint64_t clock)
{
    /* 2.4.3.3: the counter does not rise without payload. */
    uint8_t *packet = begin_packet(out, pid, false, HAS_ADAPTATION, (uint8_t)(next_counter - 1));

    if (!packet)
        return -1;
    memset(packet + HEADER_SIZE, 0xff, TS_PACKET_SIZE - HEADER_SIZE);
    packet[4] = TS_PACKET_SIZE - HEADER_SIZE - 1;
    packet[5] = HAS_PCR;
    write_pcr(packet + 6, clock);
    buffer_commit(out, TS_PACKET_SIZE);
    return 0;
}

/* 2.4.3.6: 33 bits in three pieces, each closed by a marker bit. */
static void write_timestamp(uint8_t *at, int prefix, uint64_t time)
{
    at[0] = (uint8_t)(prefix << 4 | (time >> 29 & 0x0e) | 1);
    at[1] = (uint8_t)(time >> 22);
    at[2] = (uint8_t)((time >> 14 & 0xfe) | 1);
    at[3] = (uint8_t)(time >> 7);
    at[4] = (uint8_t)((time << 1 & 0xfe) | 1);
}

static size_t write_pes_header(const struct ts_pes *pes, uint8_t header[PES_MAX_HEADER_SIZE])
{
    bool has_dts = pes->pts != pes->dts;
    size_t times = has_dts ? 10 : 5, len = 3 + times + pes->prefix_len + pes->data_len;

    /* 0, for video only: as long as it takes. */
    if (len > PES_MAX_LENGTH) {
        assert((pes->stream_id & 0xf0) == 0xe0);
        len = 0;
    }
    header[0] = 0;
    header[1] = 0;
    header[2] = 1;
    header[3] = (uint8_t)pes->stream_id;
    header[4] = (uint8_t)(len >> 8);
    header[5] = (uint8_t)len;
    header[6] = 0x84; /* data_alignment_indicator: starts with a frame */
    header[7] = has_dts ? 0xc0 : 0x80;
    header[8] = (uint8_t)times;
    write_timestamp(header + PES_START_SIZE, has_dts ? 3 : 2, pes->pts);
    if (has_dts)
        write_timestamp(header + PES_START_SIZE + 5, 1, pes->dts);
    return PES_START_SIZE + times;
}

/* The three pieces of a PES packet as one run of bytes. */
struct run {
    struct {
        const uint8_t *bytes;
        size_t len;
    } pieces[3];
    int piece;
    size_t left;
};

static void take_bytes(struct run *run, uint8_t *out, size_t len)
{
    run->left -= len;
    while (len > 0) {
        size_t part = run->pieces[run->piece].len < len ? run->pieces[run->piece].len : len;
        memcpy(out, run->pieces[run->piece].bytes, part);
        run->pieces[run->piece].bytes += part;
        run->pieces[run->piece].len -= part;
        out += part;
        len -= part;
        if (run->pieces[run->piece].len == 0 && run->piece < 2)
            run->piece++;
    }
}

/* The adaptation field in front of `payload` bytes that fill the packet. Returns where the payload goes. */
static uint8_t *write_adaptation(uint8_t *packet, size_t payload, int flags, uint64_t clock)
{
    size_t size = TS_PACKET_SIZE - HEADER_SIZE - payload;
    uint8_t *field = packet + HEADER_SIZE;

    if (size > 0)
        field[0] = (uint8_t)(size - 1);
    if (size > 1) {
        memset(field + 1, 0xff, size - 1);
        field[1] = (uint8_t)flags;
        if (flags & HAS_PCR)
            write_pcr(field + 2, clock);
    }
    return field + size;
}

int ts_packet_write_pes(struct buffer *out, const struct ts_pes *pes, uint8_t *counter)
{
    uint8_t header[PES_MAX_HEADER_SIZE];
    size_t header_len = write_pes_header(pes, header);
    struct run run = {.pieces = {{header, header_len}, {pes->prefix, pes->prefix_len}, {pes->data, pes->data_len}},
                      .left = header_len + pes->prefix_len + pes->data_len};

    for (bool first = true; run.left > 0; first = false) {
        int flags = first ? (pes->random_access ? RANDOM_ACCESS : 0) | (pes->has_clock ? HAS_PCR : 0) : 0;
        size_t adaptation = flags == 0 ? 0 : 2 + (flags & HAS_PCR ? CLOCK_FIELD_SIZE : 0);
        size_t payload = TS_PACKET_SIZE - HEADER_SIZE - adaptation;
        if (payload > run.left)
            payload = run.left;
        bool full = payload == TS_PACKET_SIZE - HEADER_SIZE;
        uint8_t *packet = begin_packet(out, pes->pid, first, HAS_PAYLOAD | (full ? 0 : HAS_ADAPTATION), *counter);
        if (!packet)
            return -1;
        take_bytes(&run, write_adaptation(packet, payload, flags, pes->clock), payload);
        buffer_commit(out, TS_PACKET_SIZE);
        *counter = (*counter + 1) & 15;
    }
    return 0;
}
