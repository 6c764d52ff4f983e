/* Tunnel handshake messages. */
#include "net/tunnel_hello.h"

#include <sodium.h>
#include <string.h>

#include "base/str.h"

enum {
    AT_REPLICA = 8,
    AT_GENERATION = 48,
    AT_MEMBER = 52,
    AT_SERVICE = 92,
    AT_ZERO = 93,
    AT_MAC = 96,
    NAME_BYTES = 40,
};
_Static_assert(AT_MAC + crypto_auth_hmacsha256_BYTES == HELLO_BYTES, "layout of the hello");
static const char MAGIC[8] = {'S', 'T', 'W', 'G', 'T', 'U', 'N', '1'};

static bool name_ok(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (s[i] <= 0x20 || s[i] >= 0x7f)
            return false;
    return n > 0 && n < NAME_BYTES;
}

static int key_of(const char *secret, unsigned char key[crypto_auth_hmacsha256_KEYBYTES])
{
    size_t n = 0;
    const char *end = NULL;
    if (strlen(secret) != TUNNEL_SECRET_HEX ||
        sodium_hex2bin(key, crypto_auth_hmacsha256_KEYBYTES, secret, TUNNEL_SECRET_HEX, NULL, &n,
                       &end) != 0 ||
        n != crypto_auth_hmacsha256_KEYBYTES)
        return -1;
    return 0;
}

static void message(const unsigned char hello[HELLO_BYTES], const unsigned char nonce[HELLO_NONCE],
                    unsigned char out[HELLO_NONCE + AT_MAC])
{
    memcpy(out, nonce, HELLO_NONCE);
    memcpy(out + HELLO_NONCE, hello, AT_MAC);
}

int hello_write(const struct tunnel_target *t, const unsigned char nonce[HELLO_NONCE],
                unsigned char out[HELLO_BYTES], struct err *err)
{
    unsigned char key[crypto_auth_hmacsha256_KEYBYTES], text[HELLO_NONCE + AT_MAC];
    if (!name_ok(t->replica) || !name_ok(t->member))
        return err_set(err, ERR_INVALID, "tunnel: malformed replica or member name");
    if (key_of(t->secret, key) != 0)
        return err_set(err, ERR_INVALID, "tunnel: the secret is not %d hex digits",
                       TUNNEL_SECRET_HEX);
    memset(out, 0, HELLO_BYTES);
    memcpy(out, MAGIC, sizeof MAGIC);
    memcpy(out + AT_REPLICA, t->replica, strlen(t->replica));
    for (int i = 0; i < 4; i++)
        out[AT_GENERATION + i] = (unsigned char)(t->generation >> (24 - 8 * i));
    memcpy(out + AT_MEMBER, t->member, strlen(t->member));
    out[AT_SERVICE] = (unsigned char)t->service;
    message(out, nonce, text);
    crypto_auth_hmacsha256(out + AT_MAC, text, sizeof text, key);
    sodium_memzero(key, sizeof key);
    return 0;
}

static bool read_name(const unsigned char *p, char name[NAME_BYTES])
{
    memcpy(name, p, NAME_BYTES);
    if (name[NAME_BYTES - 1] != 0)
        return false;
    for (size_t i = strlen(name); i < NAME_BYTES; i++)
        if (name[i])
            return false;
    return name_ok(name);
}

int hello_read(const unsigned char in[HELLO_BYTES], struct tunnel_target *t)
{
    static const unsigned char ZERO[AT_MAC - AT_ZERO];
    memset(t, 0, sizeof *t);
    if (memcmp(in, MAGIC, sizeof MAGIC) != 0 || memcmp(in + AT_ZERO, ZERO, sizeof ZERO) != 0 ||
        !read_name(in + AT_REPLICA, t->replica) || !read_name(in + AT_MEMBER, t->member))
        return -1;
    for (int i = 0; i < 4; i++)
        t->generation = t->generation << 8 | in[AT_GENERATION + i];
    t->service = (enum tunnel_service)in[AT_SERVICE];
    return t->service == TUNNEL_RPC || t->service == TUNNEL_HTTP ? 0 : -1;
}

bool hello_verify(const unsigned char in[HELLO_BYTES], const unsigned char nonce[HELLO_NONCE],
                  const char *secret)
{
    unsigned char key[crypto_auth_hmacsha256_KEYBYTES], text[HELLO_NONCE + AT_MAC];
    if (key_of(secret, key) != 0)
        return false;
    message(in, nonce, text);
    bool ok = crypto_auth_hmacsha256_verify(in + AT_MAC, text, sizeof text, key) == 0;
    sodium_memzero(key, sizeof key);
    return ok;
}
