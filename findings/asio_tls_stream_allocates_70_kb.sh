#!/usr/bin/env bash
# Boost.Asio: what an idle TLS connection costs is mostly Asio's, not OpenSSL's.
#
# boost::asio::ssl::stream has OpenSSL talk to a pair of memory BIOs, each with room for 17 KB, and two
# buffers of its own of 17 KB between these and the socket. All four are taken when the stream is
# made and kept as long as it lives, whether anything is read or not; SSL_MODE_RELEASE_BUFFERS, which
# has OpenSSL give its record buffers back, does not reach them. A server with many connections that
# mostly wait has them for each. OpenSSL on the socket itself (SSL_set_fd) has none of the four.
#
# Seen with libboost1.74-dev 1.74.0+ds1-21 and libssl 3.0.19 of Debian 12: a server's idle connection
# has 84,591 bytes allocated after a handshake and a byte each way with Asio, and 14,036 without. Needs
# these, g++ and openssl. Exit code 0 as long as Asio's are 60,000 more at least.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=here \
  -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>/dev/null
cat >"$folder/idle.cc" <<'SOURCE'
#include <malloc.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
namespace asio = boost::asio;
using Local = asio::local::stream_protocol;
constexpr int kConnections = 200;

void Check(bool ok) { if (!ok) std::abort(); }

// On a thread of its own, so that what it allocates is not counted.
void Client(int fd, SSL_CTX* context, std::vector<SSL*>& open) {
  SSL* const ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  Check(SSL_connect(ssl) == 1);
  char byte = 'x';
  Check(SSL_write(ssl, &byte, 1) == 1 && SSL_read(ssl, &byte, 1) == 1);
  open.push_back(ssl);
}

// What this thread has allocated and not freed.
thread_local long counted = 0;
void* Count(std::size_t bytes, const char*, int) {
  void* const memory = std::malloc(bytes);
  if (memory) counted += malloc_usable_size(memory);
  return memory;
}
void Uncount(void* memory, const char*, int) {
  if (memory) counted -= malloc_usable_size(memory);
  std::free(memory);
}
void* Recount(void* memory, std::size_t bytes, const char*, int) {
  if (memory) counted -= malloc_usable_size(memory);
  void* const again = std::realloc(memory, bytes);
  if (again) counted += malloc_usable_size(again);
  return again;
}
void* operator new(std::size_t bytes) { return Count(bytes, "", 0); }
void operator delete(void* memory) noexcept { Uncount(memory, "", 0); }
void operator delete(void* memory, std::size_t) noexcept { Uncount(memory, "", 0); }

int main(int, char** arguments) {
  Check(CRYPTO_set_mem_functions(Count, Recount, Uncount) == 1);
  const std::string folder = arguments[1];
  SSL_CTX* const to = SSL_CTX_new(TLS_client_method());
  asio::ssl::context at(asio::ssl::context::tls_server);
  at.use_certificate_chain_file(folder + "/cert.pem");
  at.use_private_key_file(folder + "/key.pem", asio::ssl::context::pem);
  SSL_CTX_set_mode(at.native_handle(), SSL_MODE_RELEASE_BUFFERS);
  asio::io_context io;
  std::vector<SSL*> clients;
  std::deque<std::unique_ptr<asio::ssl::stream<Local::socket>>> streams;
  std::vector<SSL*> plain;
  char byte = 0;
  const auto each = [&](auto serve) {
    for (int i = 0; i <= kConnections; ++i) {  // the first pays for what all share
      if (i == 1) counted = 0;
      int ends[2];
      Check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
      std::thread client([&] { Client(ends[1], to, clients); });
      serve(ends[0]);
      client.join();
    }
    return counted / kConnections;
  };
  const long of_asio = each([&](int fd) {
    auto& stream = *streams.emplace_back(
        std::make_unique<asio::ssl::stream<Local::socket>>(Local::socket(io, Local(), fd), at));
    stream.handshake(asio::ssl::stream_base::server);
    asio::read(stream, asio::buffer(&byte, 1));
    asio::write(stream, asio::buffer(&byte, 1));
  });
  const long of_openssl = each([&](int fd) {
    SSL* const ssl = plain.emplace_back(SSL_new(at.native_handle()));
    SSL_set_fd(ssl, fd);
    Check(SSL_accept(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1 && SSL_write(ssl, &byte, 1) == 1);
  });
  std::printf("asio::ssl::stream %ld bytes, SSL_set_fd %ld\n", of_asio, of_openssl);
  std::fflush(stdout);
  std::_Exit(of_asio >= of_openssl + 60000 ? 0 : 1);
}
SOURCE
g++ -std=c++20 -O2 -o "$folder/idle" "$folder/idle.cc" -lssl -lcrypto -pthread
"$folder/idle" "$folder"
