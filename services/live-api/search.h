/* Search in titles and broadcasters' names: the one place that knows how. Every word of the question must be part of
 * the text, anywhere, in any script: characters are compared after NFKC and case folding (full-width ＡＢＣ is abc, ｶﾞ
 * is ガ).
 *
 * MariaDB's full text splits at spaces and drops short words, which finds nothing in Japanese, and Debian's has no
 * n-gram parser. So each pair of neighbouring characters becomes one token, "g" and both code points in hex, and so
 * does the last character of a word by itself; a question is the tokens of its words, a single character a prefix. What
 * the index finds is then held against the text itself: pairs that stand apart are no match. */
#pragma once

#include "broadcast_row.h"
#include "libcommon/http_page.h"

#define SEARCH_QUERY_MAX_CHARS 100
#define SEARCH_WORDS_MAX       8

struct db_connection;
struct search_indexer;

struct search_query {
    char *words[SEARCH_WORDS_MAX]; /* normalised; owned */
    size_t word_count;
    enum broadcast_state state; /* BROADCAST_UNKNOWN: live, suspended or archived */
    struct http_page page;
};

/* Takes `text` (UTF-8) apart; -1: there is no word in it, or more than SEARCH_WORDS_MAX. */
int search_query_init(struct search_query *query, const char *text);
void search_query_clear(struct search_query *query);

/* NFKC and folded case; to be freed. */
char *search_normalise(const char *text);
/* The tokens of a normalised text, with spaces between; `as_question` with the marks of a boolean question. To be
 * freed.
 */
char *search_grams(const char *normalised, bool as_question);

/* On database workers. 0 or a db_error. The first inside the transaction that writes the row. */
int search_index(struct db_connection *connection, const char *broadcast_id, const char *title, const char *owner_name);
/* The newest first; `views` has room for page.limit + 1. */
int search_run(struct db_connection *connection, const struct search_query *query, struct broadcast_view *views,
               size_t *count);

/* Indexes in the background what has no document yet: rows that are older than search. Loop thread. */
struct search_indexer *search_indexer_create(struct live_api *api);
void search_indexer_destroy(struct search_indexer *indexer);
