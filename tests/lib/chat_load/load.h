/* Many viewers of a chat from one small process: see main.c. What its files share. One thread. */
#pragma once

#include "delays.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CODES       32
#define TARGETS_MAX 64

struct viewer;

/* What a server says when a viewer is in, and how a comment is sent to it. */
struct protocol {
    const char *name;
    const char *greeting;      /* in the first frame of the server; NULL: the end of the handshake is enough */
    const char *open, *opened; /* then sent, and what that is answered with; NULL: no such step */
    /* `text` stands in the event as it is. Returns the length. */
    int (*compose)(char *out, size_t size, const char *ref, long number, const char *text);
};
const struct protocol *protocol_find(const char *name);

struct options {
    const struct protocol *protocol;
    long viewers;       /* websockets that read */
    long deaf;          /* more of them, that never read after the handshake */
    long posters;       /* so many of the viewers post … */
    double rate;        /* … so many comments a second, all together */
    double lead;        /* seconds of looking on once all have connected, before posting */
    double warm;        /* seconds of posting that are not counted in deliveries and delays */
    double seconds;     /* that posting, or looking on, lasts after that */
    double settle;      /* seconds of looking on after that */
    long connect_rate;  /* connects begun in a second */
    long at_once;       /* handshakes under way at the same time */
    long text;          /* bytes of a posted text */
    long sample;        /* only every so manieth viewer looks into its frames: cheaper */
    const char *secret; /* key of the tokens; empty: none */
    const char *count;  /* something else to be counted, per viewer */
    const char *acks;   /* a file for the ids of acknowledged comments, one a line */
    const char *path;
    struct sockaddr_in targets[TARGETS_MAX];
    size_t target_count;
};
extern struct options options;

struct viewer {
    int fd;
    long number;
    enum { IDLE, CONNECTING, HANDSHAKING, OPENING, OPEN, DEAF, CLOSED } phase;
    char *left; /* the beginning of a frame that has not come whole */
    size_t left_len, left_capacity;
    char *unsent;
    size_t unsent_len;
    uint64_t comments, counted;
    uint64_t last_ms, last_sequence;
};
extern struct viewer *viewers;
extern int epoll_fd;

struct totals {
    uint64_t frames, bytes, comments, counted, disordered, offered, stalled, acked;
    long under_way, opened, refused, closed;
    struct delays delivery, acknowledgement;
    struct {
        char code[40];
        uint64_t count;
    } codes[CODES];
    FILE *ack_file;
};
extern struct totals totals;

/* viewer.c: a websocket. */
void viewer_connect(long number);
void viewer_post(struct viewer *viewer);
void viewer_send(struct viewer *viewer, int opcode, const char *text, size_t len);
void viewers_turn(int timeout_ms);

/* count.c: a frame of text that came. */
void count_frame(struct viewer *viewer, const char *text, size_t len, int64_t now_ns);

/* token.c: a JWT as live-api makes it. */
void token_make(long number, char out[1024]);
