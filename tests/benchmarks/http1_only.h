// Forced into httpsink.c (cc -include): a server that offers HTTP/1.1 alone, as most providers' do.
#define _GNU_SOURCE  // as the source does, which comes too late for this header
#include <openssl/ssl.h>
#define SSL_select_next_proto(out, outlen, server, server_len, client, client_len) \
  SSL_select_next_proto(out, outlen, (const unsigned char *)"\x08http/1.1", 9, client, client_len)
