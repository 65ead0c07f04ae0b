/* See status_answer.h. */
#include "services/burst-status/status_answer.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Any page may embed a player; an answer is old the moment it is given. */
#define COMMON_HEADERS "Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\n"

static const char *connection_header(bool keep_alive)
{
    return keep_alive ? "" : "Connection: close\r\n";
}

void status_answers_set_time(struct status_answers *answers, time_t now_s)
{
    struct tm utc;

    gmtime_r(&now_s, &utc);
    /* No locale is ever set, so the names are the English ones that HTTP wants. */
    strftime(answers->date, sizeof(answers->date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    for (int closes = 0; closes < 2; closes++) {
        int len = snprintf(answers->head[closes], sizeof(answers->head[closes]),
                           "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/json\r\n" COMMON_HEADERS
                           "%sContent-Length: ",
                           answers->date, connection_header(!closes));
        assert(len > 0 && (size_t)len < sizeof(answers->head[closes]));
        answers->head_len[closes] = (size_t)len;
    }
}

/* Right-aligned in `width` characters: the number that a body or header already has room for. */
static void put_number(char *out, int width, uint32_t number)
{
    do {
        out[--width] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 && width > 0);
    while (width > 0)
        out[--width] = ' ';
}

size_t status_answer_state(const struct status_answers *answers, char *out, const struct status_entry *entry,
                           uint32_t retry_after_ms, bool keep_alive, bool with_body)
{
    size_t at = answers->head_len[!keep_alive];

    memcpy(out, answers->head[!keep_alive], at);
    put_number(out + at, 3, entry->body_len);
    memcpy(out + at + 3, "\r\n\r\n", 4);
    at += 7;
    if (!with_body)
        return at;
    memcpy(out + at, entry->body, entry->body_len);
    at += entry->body_len;
    put_number(out + at - STATUS_RETRY_SIZE - 1, STATUS_RETRY_SIZE, retry_after_ms);
    return at;
}

static const struct refusal {
    unsigned status;
    const char *reason, *code, *message;
} refusals[] = {
    {400, "Bad Request", "bad_request", "this is not an HTTP request that can be understood"},
    {404, "Not Found", "not_found", "no such broadcast"},
    {405, "Method Not Allowed", "method_not_allowed", "only GET, HEAD and OPTIONS"},
    {414, "URI Too Long", "uri_too_long", "the request line is too long"},
    {431, "Request Header Fields Too Large", "headers_too_large", "the request's headers are too large"},
    {503, "Service Unavailable", "starting", "the states are not known yet"},
    {505, "HTTP Version Not Supported", "http_version_not_supported", "only HTTP/1.0 and HTTP/1.1"},
};

size_t status_answer_error(const struct status_answers *answers, char *out, unsigned status, unsigned retry_after_s,
                           bool keep_alive, bool with_body)
{
    const struct refusal *refusal = refusals;
    char body[192], retry_after[32] = "";

    while (refusal->status != status && refusal < &refusals[sizeof(refusals) / sizeof(refusals[0]) - 1])
        refusal++;
    int body_len = snprintf(body, sizeof(body), "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", refusal->code,
                            refusal->message);
    if (retry_after_s > 0)
        snprintf(retry_after, sizeof(retry_after), "Retry-After: %u\r\n", retry_after_s);
    int len = snprintf(out, STATUS_ANSWER_MAX,
                       "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: application/json\r\n" COMMON_HEADERS
                       "%s%s%sContent-Length: %d\r\n\r\n%s",
                       refusal->status, refusal->reason, answers->date, retry_after,
                       refusal->status == 405 ? "Allow: GET, HEAD, OPTIONS\r\n" : "", connection_header(keep_alive),
                       body_len, with_body ? body : "");
    assert(len > 0 && len < STATUS_ANSWER_MAX);
    return (size_t)len;
}

size_t status_answer_options(const struct status_answers *answers, char *out, bool keep_alive)
{
    int len = snprintf(out, STATUS_ANSWER_MAX,
                       "HTTP/1.1 204 No Content\r\nDate: %s\r\nAllow: GET, HEAD, OPTIONS\r\n"
                       "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\nAccess-Control-Allow-Headers: *\r\n"
                       "Access-Control-Max-Age: 86400\r\n" COMMON_HEADERS "%s\r\n",
                       answers->date, connection_header(keep_alive));
    assert(len > 0 && len < STATUS_ANSWER_MAX);
    return (size_t)len;
}
