/* A private CA and certificates for tests, made with openssl. */
#pragma once

/* A fresh folder that servers of another user can read; the test removes it with certificates_remove. */
void certificates_make_dir(char dir[64]);
/* In `dir`: a new CA <name>-ca.pem, and cert.pem and key.pem for `host` (an IP address) signed by it, in the place of
 * what was there. */
void certificates_make(const char *dir, const char *name, const char *host);
void certificates_remove(const char *dir);
