/* Immutable bytes with a reference count, so that a segment's media is in memory once, whoever works on it. A blob may
 * be a slice of another. Loop thread only, but for making one (a disk worker hands over what it has read). */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct blob {
    int refs;
    size_t len;
    struct blob *owner; /* of the bytes, when it is a slice */
    uint8_t *data;
    uint8_t storage[];
};

/* `len` bytes to be filled through `data`; NULL when memory is out. */
static inline struct blob *blob_create(size_t len)
{
    struct blob *blob = malloc(sizeof(*blob) + len);

    if (!blob)
        return NULL;
    blob->refs = 1;
    blob->len = len;
    blob->owner = NULL;
    blob->data = blob->storage;
    return blob;
}

static inline struct blob *blob_ref(struct blob *blob)
{
    blob->refs++;
    return blob;
}

/* NULL is fine. */
static inline void blob_unref(struct blob *blob)
{
    if (!blob || --blob->refs > 0)
        return;
    blob_unref(blob->owner);
    free(blob);
}

/* The caller has checked that the slice lies inside. */
static inline struct blob *blob_slice(struct blob *owner, size_t offset, size_t len)
{
    struct blob *blob = blob_create(0);

    if (!blob)
        return NULL;
    blob->owner = blob_ref(owner);
    blob->data = owner->data + offset;
    blob->len = len;
    return blob;
}

static inline struct blob *blob_of_text(const char *text)
{
    size_t len = strlen(text);
    struct blob *blob = blob_create(len);

    if (blob)
        memcpy(blob->data, text, len);
    return blob;
}
