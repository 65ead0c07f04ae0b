#include "certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

void certificates_make_dir(char dir[64])
{
    snprintf(dir, 64, "/tmp/hanabi-certificates-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chmod(dir, 0755), 0); /* a server may run as somebody else */
}

void certificates_make(const char *dir, const char *name, const char *host)
{
    char command[1200];

    snprintf(command, sizeof(command),
             "cd %s && { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=%s-ca -keyout ca-key.pem -out "
             "%s-ca.pem && openssl req -newkey rsa:2048 -nodes -subj /CN=%s -keyout key.pem -out req.pem && "
             "printf 'subjectAltName=IP:%s' >ext && openssl x509 -req -in req.pem -days 2 -CA %s-ca.pem -CAkey "
             "ca-key.pem -CAcreateserial -extfile ext -out cert.pem && chmod 644 *.pem; } >/dev/null 2>&1",
             dir, name, name, host, host, name);
    assert_int_equal(system(command), 0);
}

void certificates_remove(const char *dir)
{
    char command[100];

    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}
