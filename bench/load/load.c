/*
 * The load client of HTTP/1.1, with and without TLS: one thread, epoll, raw bytes.
 * Commands come on stdin, one a line (name, then key=value), answers go to stdout, one JSON object a line.
 * Between commands it goes on reading and answers pings.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_ZLIB
#include <zlib.h>
#endif
#ifdef WITH_TLS
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

enum { INPUT = 1 << 21, READ = 1 << 18, EVENTS = 512, RING = 256, FLOOD_FRAMES = 1700 };
enum { PUBLISHER_BASE = 1000, SEQUENCE_BASE = 100000000 };
enum { PROBE_BYTES = 32, PROBE_FRAME = 6 + PROBE_BYTES, PROBE_REPLY = 2 + PROBE_BYTES };
static const uint64_t MS = 1000000, SECOND = 1000000000;

typedef enum { CONNECTING, SECURING, HANDSHAKE, PACKETS, OPEN, CLOSED } State;
typedef enum { NOTHING, OPENING, RUNNING, FLOODING, PROBING, AWAITING, LEAVING } JobKind;
typedef enum { ALL, OWN, PACE } Mode;

typedef struct Group Group;

typedef struct {
  int fd;
  SSL *tls; /* NULL without TLS */
  int index;
  State state;
  Group *group;
  uint8_t *left;
  size_t leftLength, leftCapacity;
  uint32_t *expected;
  size_t offset;
} Connection;

struct Group {
  char name[32];
  Connection **connections;
  int count, open;
  bool socketIo, silent, deflate, discard, tls;
  int first; /* the number of the first connection, written into the request at indexAt */
  size_t indexAt;
  uint8_t *request;
  size_t requestLength;
  char *expect;
  Group *next;
};

typedef struct {
  uint32_t sequence;
  size_t length, capacity;
  uint8_t *bytes;
  bool used;
} Verified;

static int epollFd, timerFd;
static Group *groups;
static uint8_t input[INPUT], inflated[INPUT];
static uint64_t pings, closedConnections, bytesDiscarded;

static struct {
  uint8_t *bytes;
  size_t length, publisherAt, sequenceAt;
} template;

static struct {
  const char *reason;
  uint64_t count;
} reasons[32];
static uint64_t errors;

static struct {
  JobKind kind;
  Group *group;
  Mode mode;
  uint64_t from, until, end, lastProgress, wakeAt;
  uint64_t clientCpu, serverCpu;
  pid_t server;
  uint64_t sent, received, target;
  uint32_t burst, size;
  int publishers;
  uint32_t next[256];
  /* opening */
  int port, started, concurrency, sources, inFlight;
  /* probing */
  uint64_t interval, ticks, answered, planned;
  uint64_t *latencies;
} job;

static Verified verified[RING];

static uint64_t clockOf(clockid_t id) {
  struct timespec t;
  if (clock_gettime(id, &t) != 0) return 0;
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now(void) { return clockOf(CLOCK_MONOTONIC); }
static uint64_t ownCpu(void) { return clockOf(CLOCK_PROCESS_CPUTIME_ID); }

/* All threads of another process, those that have ended included. */
static uint64_t cpuOf(pid_t pid) {
  clockid_t id;
  if (pid <= 0 || clock_getcpuclockid(pid, &id) != 0) return 0;
  return clockOf(id);
}

static void fail(const char *reason) {
  errors++;
  for (int i = 0; i < 32; i++) {
    if (reasons[i].reason == NULL) reasons[i].reason = reason;
    if (strcmp(reasons[i].reason, reason) == 0) {
      reasons[i].count++;
      return;
    }
  }
}

static void answer(const char *format, ...) {
  va_list list;
  va_start(list, format);
  printf("{\"errors\":%llu,\"reasons\":{", (unsigned long long)errors);
  for (int i = 0; i < 32 && reasons[i].reason; i++) {
    printf("%s\"%s\":%llu", i ? "," : "", reasons[i].reason, (unsigned long long)reasons[i].count);
  }
  printf("}");
  vprintf(format, list);
  printf("}\n");
  fflush(stdout);
  va_end(list);
  errors = 0;
  memset(reasons, 0, sizeof reasons);
}

static void wake(uint64_t at) {
  struct itimerspec spec = {0};
  if (at != 0) {
    spec.it_value.tv_sec = (time_t)(at / SECOND);
    spec.it_value.tv_nsec = (long)(at % SECOND);
  }
  job.wakeAt = at;
  timerfd_settime(timerFd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* --- TLS --- */

#ifdef WITH_TLS
static SSL_CTX *tlsContext;

static bool startTls(Connection *c) {
  if (tlsContext == NULL) {
    tlsContext = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(tlsContext, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_session_cache_mode(tlsContext, SSL_SESS_CACHE_OFF);
  }
  c->tls = SSL_new(tlsContext);
  return c->tls != NULL && SSL_set_fd(c->tls, c->fd) == 1;
}

/* 1 when it is done, 0 while it waits, -1 when it failed. */
static int secure(Connection *c) {
  int result = SSL_connect(c->tls);
  if (result == 1) return 1;
  int why = SSL_get_error(c->tls, result);
  return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static void freeTls(Connection *c) {
  SSL_free(c->tls);
  c->tls = NULL;
}

static ssize_t tlsWrite(Connection *c, const void *bytes, size_t length) {
  return SSL_write(c->tls, bytes, (int)length);
}

/* As recv(), of all records that are there. */
static ssize_t tlsRead(Connection *c, uint8_t *into, size_t room) {
  size_t length = 0;
  while (length < room) {
    int got = SSL_read(c->tls, into + length, (int)(room - length));
    if (got > 0) length += (size_t)got;
    else if (length > 0) break;
    else if (SSL_get_error(c->tls, got) == SSL_ERROR_WANT_READ) {
      errno = EAGAIN;
      return -1;
    } else return 0;
  }
  return (ssize_t)length;
}
#else
static bool startTls(Connection *c) { return c->tls != NULL; }
static int secure(Connection *c) { return c->tls ? 0 : -1; }
static void freeTls(Connection *c) { c->tls = NULL; }
static ssize_t tlsWrite(Connection *c, const void *bytes, size_t length) { return (void)c, (void)bytes, (void)length, -1; }
static ssize_t tlsRead(Connection *c, uint8_t *into, size_t room) { return (void)c, (void)into, (void)room, -1; }
#endif

static ssize_t transmit(Connection *c, const void *bytes, size_t length) {
  return c->tls ? tlsWrite(c, bytes, length) : send(c->fd, bytes, length, MSG_NOSIGNAL);
}

static ssize_t receive(Connection *c, uint8_t *into, size_t room) {
  return c->tls ? tlsRead(c, into, room) : recv(c->fd, into, room, 0);
}

static void listenFor(Connection *c, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  epoll_ctl(epollFd, EPOLL_CTL_MOD, c->fd, &event);
}

static void endConnection(Connection *c, const char *reason) {
  if (c->state == CLOSED) return;
  if (c->state == OPEN) c->group->open--;
  else if (job.kind == OPENING) job.inFlight--;
  c->state = CLOSED;
  freeTls(c);
  close(c->fd);
  closedConnections++;
  if (reason) fail(reason);
}

/* A masked frame; the mask is zero, so the payload goes as it is. */
static void sendFrame(Connection *c, uint8_t opcode, const void *payload, size_t length) {
  uint8_t frame[8 + 256] = {(uint8_t)(0x80 | opcode)};
  size_t head = 6;
  if (length > 255) return fail("frame too long");
  if (length < 126) frame[1] = (uint8_t)(0x80 | length);
  else {
    frame[1] = 0x80 | 126;
    frame[2] = 0;
    frame[3] = (uint8_t)length;
    head = 8;
  }
  memcpy(frame + head, payload, length);
  ssize_t written = transmit(c, frame, head + length);
  if (written != (ssize_t)(head + length)) fail("send failed");
}

static void publish(int publisher) {
  Connection *c = job.group->connections[publisher];
  char text[128];
  int length = snprintf(text, sizeof text, "%s%d,%u,%u,%u%s", c->group->socketIo ? "42[\"publish\",\"" : "",
                        PUBLISHER_BASE + publisher, SEQUENCE_BASE + job.next[publisher], job.burst, job.size,
                        c->group->socketIo ? "\"]" : "");
  job.next[publisher] += job.burst;
  job.sent++;
  job.target += (uint64_t)job.burst * (uint64_t)job.group->count;
  sendFrame(c, 1, text, (size_t)length);
}

static void finishRun(void) {
  uint64_t client = ownCpu() - job.clientCpu, wall = job.end - job.from;
  job.kind = NOTHING;
  wake(0);
  answer(",\"published\":%llu,\"deliveries\":%llu,\"wallNs\":%llu,\"clientCpuNs\":%llu,\"serverCpuNs\":%llu",
         (unsigned long long)job.sent, (unsigned long long)job.received, (unsigned long long)wall,
         (unsigned long long)client, (unsigned long long)(cpuOf(job.server) - job.serverCpu));
}

/* What the server still does for the window belongs to it: its CPU is read a little later. */
static void settleRun(void) {
  job.end = now();
  wake(job.end + 5 * MS);
}

static void progress(void) {
  if (job.end != 0 || job.received < job.target) return;
  uint64_t time = now();
  if (time >= job.until) settleRun();
  else if (job.mode == ALL) publish(0);
}

static uint32_t digits(const uint8_t *at, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; i++) value = value * 10 + (uint32_t)(at[i] - '0');
  return value;
}

/* The whole text but the digits equals the template. */
static bool readText(const uint8_t *text, size_t length, uint32_t *publisher, uint32_t *sequence) {
  size_t p = template.publisherAt, s = template.sequenceAt;
  if (length != template.length || memcmp(text, template.bytes, p) != 0 ||
      memcmp(text + p + 4, template.bytes + p + 4, s - p - 4) != 0 ||
      memcmp(text + s + 9, template.bytes + s + 9, length - s - 9) != 0) {
    return false;
  }
  *publisher = digits(text + p, 4) - PUBLISHER_BASE;
  *sequence = digits(text + s, 9) - SEQUENCE_BASE;
  return *publisher < (uint32_t)job.publishers;
}

static void arrived(Connection *c, uint32_t publisher, uint32_t sequence) {
  if (sequence != c->expected[publisher]) {
    fail(sequence < c->expected[publisher] ? "duplicate or out of order" : "lost or out of order");
  }
  c->expected[publisher] = sequence + 1;
  job.received++;
  if (job.mode == OWN && (int)publisher == c->index && job.end == 0 && now() < job.until) publish(c->index);
}

#ifdef WITH_ZLIB
static z_stream zlib;

static bool inflateText(const uint8_t *bytes, size_t length, size_t *textLength) {
  static const uint8_t tail[4] = {0, 0, 0xff, 0xff};
  static bool ready;
  if (!ready) {
    if (inflateInit2(&zlib, -15) != Z_OK) return false;
    ready = true;
  }
  inflateReset(&zlib);
  zlib.next_in = (uint8_t *)bytes;
  zlib.avail_in = (unsigned)length;
  zlib.next_out = inflated;
  zlib.avail_out = sizeof inflated;
  if (inflate(&zlib, Z_SYNC_FLUSH) != Z_OK) return false;
  zlib.next_in = (uint8_t *)tail;
  zlib.avail_in = sizeof tail;
  int result = inflate(&zlib, Z_SYNC_FLUSH);
  if (result != Z_OK && result != Z_BUF_ERROR) return false;
  *textLength = sizeof inflated - zlib.avail_out;
  return true;
}

/* The same bytes as a frame of this sequence that was inflated and compared: as good as inflating. */
static void compressedArrived(Connection *c, const uint8_t *bytes, size_t length) {
  Verified *known = &verified[c->expected[0] % RING];
  bool same = known->used && known->sequence == c->expected[0] && known->length == length &&
              memcmp(known->bytes, bytes, length) == 0;
  if (same && c->index % 50 != 0) return arrived(c, 0, c->expected[0]);
  size_t textLength;
  uint32_t publisher, sequence;
  if (!inflateText(bytes, length, &textLength)) return fail("does not inflate");
  if (!readText(inflated, textLength, &publisher, &sequence)) return fail("wrong text after inflating");
  known = &verified[sequence % RING];
  if (publisher == 0 && !(known->used && known->sequence == sequence)) {
    if (known->capacity < length) known->bytes = realloc(known->bytes, known->capacity = length);
    memcpy(known->bytes, bytes, length);
    known->length = length;
    known->sequence = sequence;
    known->used = true;
  }
  arrived(c, publisher, sequence);
}
#else
static void compressedArrived(Connection *c, const uint8_t *bytes, size_t length) {
  (void)c, (void)bytes, (void)length;
  fail("built without zlib");
}
#endif

static void opened(Connection *c) {
  c->state = OPEN;
  c->group->open++;
  job.inFlight--;
  if (c->group->silent) epoll_ctl(epollFd, EPOLL_CTL_DEL, c->fd, NULL);
}

/* Engine.IO 4 and Socket.IO 5, as far as text events need them. True when it was a packet of theirs. */
static bool packet(Connection *c, const uint8_t *text, size_t length) {
  if (length > 0 && text[0] == '2') {
    pings++;
    sendFrame(c, 1, "3", 1);
    return true;
  }
  if (c->state != PACKETS) return false;
  if (length > 1 && text[0] == '0') sendFrame(c, 1, "40", 2);
  else if (length > 1 && memcmp(text, "40", 2) == 0) opened(c);
  else endConnection(c, "unexpected packet while connecting");
  return true;
}

static void message(Connection *c, const uint8_t *bytes, size_t length, bool compressed) {
  if (c->group->socketIo && packet(c, bytes, length)) return;
  if (job.kind == PROBING && job.group == c->group) {
    if (length != PROBE_BYTES || job.answered >= job.ticks) return fail("unexpected echo");
    uint64_t due = job.from + job.answered * job.interval;
    if (memcmp(bytes, "probe ", 6) != 0 || digits(bytes + 6, 9) != job.answered) return fail("wrong echo");
    job.latencies[job.answered++] = now() - due;
    return;
  }
  if (job.kind == AWAITING) {
    job.received++;
    return;
  }
  if (job.kind == LEAVING) return;
  if (job.kind != RUNNING || job.group != c->group) return fail("a message that nobody asked for");
  if (compressed != c->group->deflate) return fail(compressed ? "RSV1 not negotiated" : "not compressed");
  if (compressed) return compressedArrived(c, bytes, length);
  uint32_t publisher, sequence;
  if (!readText(bytes, length, &publisher, &sequence)) return fail("wrong text");
  arrived(c, publisher, sequence);
}

/* Returns how many bytes were used. */
static size_t frames(Connection *c, const uint8_t *bytes, size_t length) {
  size_t used = 0;
  while (c->state != CLOSED && length - used >= 2) {
    const uint8_t *at = bytes + used;
    size_t head = 2, size = at[1] & 0x7f;
    uint8_t opcode = at[0] & 0x0f;
    if (size == 126) {
      if (length - used < 4) break;
      size = (size_t)at[2] << 8 | at[3];
      head = 4;
    } else if (size == 127) {
      if (length - used < 10) break;
      size = 0;
      for (int i = 2; i < 10; i++) size = size << 8 | at[i];
      head = 10;
    }
    if (at[1] & 0x80 || !(at[0] & 0x80) || at[0] & 0x30 || size > INPUT - READ - 16) {
      endConnection(c, "frame that a server must not send here");
      break;
    }
    if (length - used < head + size) break;
    used += head + size;
    if (opcode == 1) message(c, at + head, size, (at[0] & 0x40) != 0);
    else if (opcode == 9) {
      pings++;
      sendFrame(c, 10, at + head, size);
    } else if (opcode == 8 && (job.kind == LEAVING || job.kind == NOTHING)) sendFrame(c, 8, at + head, size < 2 ? size : 2);
    else if (opcode == 8) endConnection(c, "close frame");
    else if (opcode != 10) endConnection(c, "unexpected opcode");
  }
  return used;
}

static size_t response(Connection *c, uint8_t *bytes, size_t length) {
  uint8_t *end = memmem(bytes, length, "\r\n\r\n", 4);
  if (end == NULL) return 0;
  size_t used = (size_t)(end + 4 - bytes);
  *end = 0;
  if (memcmp(bytes, "HTTP/1.1 101", 12) != 0) endConnection(c, "no 101");
  else if (strstr((char *)bytes, c->group->expect) == NULL) endConnection(c, "101 without the expected header");
  else if (c->group->socketIo) c->state = PACKETS;
  else opened(c);
  return used;
}

static void keep(Connection *c, const uint8_t *bytes, size_t length) {
  if (length > c->leftCapacity) {
    free(c->left);
    c->left = malloc(c->leftCapacity = length * 2);
  }
  if (length > 0) memcpy(c->left, bytes, length);
  c->leftLength = length;
}

static void readable(Connection *c) {
  size_t length = c->leftLength, used = 0;
  if (c->group->discard && c->state == OPEN) {
    ssize_t got = receive(c, input, READ);
    if (got > 0) bytesDiscarded += (uint64_t)got;
    else if (got == 0 || errno != EAGAIN) endConnection(c, NULL);
    return;
  }
  if (length > 0) memcpy(input, c->left, length);
  ssize_t got = receive(c, input + length, READ);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return endConnection(c, job.kind == LEAVING ? NULL : got == 0 ? "end of TCP" : "connection reset");
  length += (size_t)got;
  if (c->state == HANDSHAKE) used = response(c, input, length);
  if (c->state == OPEN && c->group->discard) return keep(c, input, 0);
  if (c->state == OPEN || c->state == PACKETS) used += frames(c, input + used, length - used);
  if (c->state != CLOSED) keep(c, input + used, length - used);
}

static uint8_t floodBytes[FLOOD_FRAMES * PROBE_FRAME];

static void prepareFlood(void) {
  for (size_t i = 0; i < FLOOD_FRAMES; i++) {
    uint8_t *at = floodBytes + i * PROBE_FRAME;
    at[0] = 0x81;
    at[1] = 0x80 | PROBE_BYTES;
    memset(at + 6, 'x', PROBE_BYTES);
  }
}

static void flood(Connection *c) {
  for (int i = 0; i < 4; i++) {
    ssize_t written = transmit(c, floodBytes + c->offset, sizeof floodBytes - c->offset);
    if (written < 0) {
      if (errno != EAGAIN) endConnection(c, NULL);
      return;
    }
    job.sent += (uint64_t)written;
    c->offset = (c->offset + (size_t)written) % sizeof floodBytes;
  }
}

static void connectOne(void) {
  Group *g = job.group;
  Connection *c = calloc(1, sizeof *c);
  int one = 1;
  c->group = g;
  c->index = g->first + g->count;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  g->connections[g->count++] = c;
  job.started++;
  job.inFlight++;
  if (c->fd < 0) {
    c->state = CLOSED;
    job.inFlight--;
    return fail("no socket (descriptors?)");
  }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (job.sources > 1) {
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(c->index % job.sources));
    bind(c->fd, (struct sockaddr *)&address, sizeof address);
  }
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons((uint16_t)job.port);
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, c->fd, &event);
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) {
    endConnection(c, "connect failed");
  }
}

static void request(Connection *c) {
  Group *g = c->group;
  char digits[8];
  if (g->indexAt) {
    snprintf(digits, sizeof digits, "%06d", c->index % 1000000);
    memcpy(g->request + g->indexAt, digits, 6);
  }
  if (transmit(c, g->request, g->requestLength) != (ssize_t)g->requestLength) return endConnection(c, "request not sent");
  c->state = HANDSHAKE;
  listenFor(c, EPOLLIN);
}

static void secured(Connection *c) {
  int done = secure(c);
  if (done < 0) return endConnection(c, "TLS failed");
  if (done > 0) request(c);
}

static void connected(Connection *c) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return endConnection(c, "connect failed");
  if (!c->group->tls) return request(c);
  if (!startTls(c)) return endConnection(c, "no TLS");
  c->state = SECURING;
  listenFor(c, EPOLLIN);
  secured(c);
}

static void ready(Connection *c, uint32_t events) {
  if (c->state == CLOSED) return;
  if (c->state == CONNECTING) return connected(c);
  if (c->state == SECURING) return secured(c);
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
  if (events & EPOLLOUT && c->state == OPEN && job.kind == FLOODING && job.group == c->group) flood(c);
}

/* --- commands --- */

static char *value(char *line, const char *key) {
  size_t length = strlen(key);
  for (char *at = line; (at = strstr(at, key)) != NULL; at += length) {
    if (at > line && at[-1] == ' ' && at[length] == '=') return at + length + 1;
  }
  return NULL;
}

static uint64_t number(char *line, const char *key, uint64_t fallback) {
  char *text = value(line, key);
  return text ? strtoull(text, NULL, 10) : fallback;
}

static void word(char *line, const char *key, char *into, size_t size) {
  char *text = value(line, key);
  size_t length = text ? strcspn(text, " ") : 0;
  if (length >= size) length = size - 1;
  if (length > 0) memcpy(into, text, length);
  into[length] = 0;
}

static uint8_t *hex(char *line, const char *key, size_t *length) {
  char *text = value(line, key);
  size_t size = text ? strcspn(text, " ") / 2 : 0;
  uint8_t *bytes = calloc(size + 1, 1);
  for (size_t i = 0; i < size; i++) {
    char pair[3] = {text[2 * i], text[2 * i + 1], 0};
    bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
  }
  *length = size;
  return bytes;
}

static Group *groupOf(char *line) {
  char name[32];
  word(line, "group", name, sizeof name);
  for (Group *g = groups; g; g = g->next) {
    if (strcmp(g->name, name) == 0) return g;
  }
  return NULL;
}

static void startOpen(char *line) {
  Group *g = calloc(1, sizeof *g);
  size_t length;
  memset(&job, 0, sizeof job);
  word(line, "group", g->name, sizeof g->name);
  g->next = groups;
  groups = g;
  g->connections = calloc(number(line, "count", 1), sizeof *g->connections);
  g->socketIo = number(line, "socketIo", 0);
  g->silent = number(line, "silent", 0);
  g->deflate = number(line, "deflate", 0);
  g->discard = number(line, "discard", 0);
  g->tls = number(line, "tls", 0);
  g->first = (int)number(line, "first", 0);
  g->indexAt = number(line, "indexAt", 0);
  g->request = hex(line, "request", &g->requestLength);
  g->expect = (char *)hex(line, "expect", &length);
  job.group = g;
  job.port = (int)number(line, "port", 0);
  job.target = number(line, "count", 1);
  job.concurrency = (int)number(line, "concurrency", 64);
  job.sources = (int)number(line, "sources", 1);
  job.from = now();
  job.until = job.from + number(line, "timeoutMs", 60000) * MS;
  job.kind = OPENING;
  wake(job.until);
}

static void stepOpen(void) {
  while (job.started < (int)job.target && job.inFlight < job.concurrency && errors < 50) connectOne();
  if (job.inFlight > 0 && now() < job.until) return;
  if (job.inFlight > 0) fail("timeout while opening");
  job.kind = NOTHING;
  wake(0);
  answer(",\"open\":%d,\"wallNs\":%llu", job.group->open, (unsigned long long)(now() - job.from));
}

static void startRun(char *line) {
  char mode[16];
  memset(&job, 0, sizeof job);
  job.group = groupOf(line);
  word(line, "mode", mode, sizeof mode);
  job.mode = strcmp(mode, "own") == 0 ? OWN : strcmp(mode, "pace") == 0 ? PACE : ALL;
  job.publishers = (int)number(line, "publishers", 1);
  job.burst = (uint32_t)number(line, "burst", 1);
  job.size = (uint32_t)number(line, "size", 100);
  job.interval = number(line, "intervalUs", 0) * 1000;
  job.server = (pid_t)number(line, "server", 0);
  if (job.group == NULL || job.publishers > 256 || job.publishers > job.group->count ||
      job.group->open != job.group->count) {
    fail("the group is not whole");
    return answer("");
  }
  for (int i = 0; i < job.group->count; i++) {
    Connection *c = job.group->connections[i];
    free(c->expected);
    c->expected = calloc((size_t)job.publishers, sizeof *c->expected);
  }
  for (int i = 0; i < RING; i++) verified[i].used = false;
  job.kind = RUNNING;
  job.clientCpu = ownCpu();
  job.serverCpu = cpuOf(job.server);
  job.from = job.lastProgress = now();
  job.until = job.from + number(line, "ms", 1000) * MS;
  for (int i = 0; i < job.publishers; i++) publish(i);
  job.ticks = 1;
  wake(job.mode == PACE ? job.from + job.interval : job.until);
}

static void stepRun(void) {
  static uint64_t before;
  uint64_t time = now();
  if (job.end != 0) {
    if (time >= job.wakeAt) finishRun();
    return;
  }
  if (job.received != before) {
    before = job.received;
    job.lastProgress = time;
  }
  if (job.mode == PACE && time >= job.wakeAt && time < job.until) {
    while (job.from + job.ticks * job.interval <= time) {
      publish(0);
      job.ticks++;
    }
    wake(job.from + job.ticks * job.interval);
  }
  progress();
  if (job.end != 0) return;
  bool lost = job.group->open != job.group->count;
  if (lost || time - job.lastProgress > 10 * SECOND || errors > 1000) {
    if (!lost && errors == 0) fail("no message for 10 s");
    settleRun();
  } else if (time >= job.wakeAt) wake(time + 500 * MS);
}

static void startFlood(char *line) {
  memset(&job, 0, sizeof job);
  job.group = groupOf(line);
  if (job.group == NULL) return answer("");
  job.kind = FLOODING;
  job.server = (pid_t)number(line, "server", 0);
  job.clientCpu = ownCpu();
  job.serverCpu = cpuOf(job.server);
  job.from = now();
  job.until = job.from + number(line, "ms", 1000) * MS;
  bytesDiscarded = 0;
  job.group->discard = true;
  for (int i = 0; i < job.group->count; i++) {
    if (job.group->connections[i]->state == OPEN) listenFor(job.group->connections[i], EPOLLIN | EPOLLOUT);
  }
  wake(job.until);
}

static void stepFlood(void) {
  uint64_t time = now();
  if (time < job.until && job.group->open > 0) return;
  uint64_t server = cpuOf(job.server) - job.serverCpu;
  job.kind = NOTHING;
  wake(0);
  for (int i = 0; i < job.group->count; i++) {
    if (job.group->connections[i]->state == OPEN) listenFor(job.group->connections[i], EPOLLIN);
  }
  answer(",\"sent\":%llu,\"replies\":%llu,\"open\":%d,\"wallNs\":%llu,\"clientCpuNs\":%llu,\"serverCpuNs\":%llu",
         (unsigned long long)(job.sent / PROBE_FRAME), (unsigned long long)(bytesDiscarded / PROBE_REPLY),
         job.group->open, (unsigned long long)(time - job.from),
         (unsigned long long)(ownCpu() - job.clientCpu), (unsigned long long)server);
}

static void startProbe(char *line) {
  memset(&job, 0, sizeof job);
  job.group = groupOf(line);
  if (job.group == NULL || job.group->open < 1) {
    fail("no open connection");
    return answer("");
  }
  job.kind = PROBING;
  job.interval = number(line, "intervalUs", 5000) * 1000;
  job.planned = number(line, "ms", 1000) * MS / job.interval;
  job.latencies = calloc(job.planned + 1, sizeof *job.latencies);
  job.from = now() + job.interval;
  wake(job.from);
}

static int byValue(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Open loop: every echo is timed from when it was due, so a stall counts for all that were due in it. */
static void stepProbe(void) {
  uint64_t time = now();
  while (job.ticks < job.planned && job.from + job.ticks * job.interval <= time) {
    char text[PROBE_BYTES + 1];
    snprintf(text, sizeof text, "probe %09u.................", (unsigned)job.ticks % 1000000000u);
    job.ticks++;
    if (job.group->open > 0) sendFrame(job.group->connections[0], 1, text, PROBE_BYTES);
  }
  uint64_t last = job.from + job.planned * job.interval;
  bool over = job.ticks == job.planned && (job.answered == job.planned || time > last + 5 * SECOND);
  if (!over && job.group->open > 0) {
    if (time >= job.wakeAt) wake(job.ticks < job.planned ? job.from + job.ticks * job.interval : time + 10 * MS);
    return;
  }
  uint64_t unanswered = job.ticks - job.answered;
  for (uint64_t i = job.answered; i < job.ticks; i++) job.latencies[i] = time - (job.from + i * job.interval);
  qsort(job.latencies, job.ticks, sizeof *job.latencies, byValue);
  uint64_t count = job.ticks;
#define AT(part) (count ? job.latencies[(uint64_t)((double)(count - 1) * (part))] : 0)
  answer(",\"count\":%llu,\"unanswered\":%llu,\"p50Ns\":%llu,\"p99Ns\":%llu,\"maxNs\":%llu",
         (unsigned long long)count, (unsigned long long)unanswered, (unsigned long long)AT(0.5),
         (unsigned long long)AT(0.99), (unsigned long long)AT(1));
  free(job.latencies);
  job.kind = NOTHING;
  wake(0);
}

static int openNow(void) {
  int open = 0;
  for (Group *g = groups; g; g = g->next) open += g->open;
  return open;
}

/* Begins to count messages of any kind, before the server is told to send them. */
static void mark(void) {
  memset(&job, 0, sizeof job);
  job.kind = AWAITING;
  job.target = job.until = UINT64_MAX;
  answer("");
}

/* Waits for messages after mark(), or until the server has closed all connections. */
static void startWaiting(char *line, JobKind kind) {
  job.kind = kind;
  job.target = number(line, "messages", 0);
  job.from = now();
  job.until = job.from + number(line, "ms", 1000) * MS;
  wake(job.until);
}

static void stepWaiting(void) {
  bool done = job.kind == AWAITING ? job.received >= job.target : openNow() == 0;
  if (!done && now() < job.until) return;
  answer(",\"messages\":%llu,\"closed\":%llu,\"tookNs\":%llu", (unsigned long long)job.received,
         (unsigned long long)closedConnections, (unsigned long long)(now() - job.from));
  job.kind = NOTHING;
  wake(0);
}

/* With a reset, so that no port stays behind in TIME_WAIT. */
static void dropAll(void) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  while (groups) {
    Group *g = groups;
    groups = g->next;
    for (int i = 0; i < g->count; i++) {
      Connection *c = g->connections[i];
      if (c->state != CLOSED) {
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        freeTls(c);
        close(c->fd);
      }
      free(c->left);
      free(c->expected);
      free(c);
    }
    free(g->connections);
    free(g->request);
    free(g->expect);
    free(g);
  }
  pings = closedConnections = 0;
  job.kind = NOTHING;
  wake(0);
  errors = 0;
  memset(reasons, 0, sizeof reasons);
  answer("");
}

static void command(char *line) {
  if (strncmp(line, "open ", 5) == 0) startOpen(line);
  else if (strncmp(line, "run ", 4) == 0) startRun(line);
  else if (strncmp(line, "flood ", 6) == 0) startFlood(line);
  else if (strncmp(line, "probe ", 6) == 0) startProbe(line);
  else if (strncmp(line, "mark", 4) == 0) mark();
  else if (strncmp(line, "await ", 6) == 0) startWaiting(line, AWAITING);
  else if (strncmp(line, "gone ", 5) == 0) startWaiting(line, LEAVING);
  else if (strncmp(line, "drop", 4) == 0) dropAll();
  else if (strncmp(line, "template ", 9) == 0) {
    free(template.bytes);
    template.bytes = hex(line, "bytes", &template.length);
    template.publisherAt = number(line, "publisherAt", 0);
    template.sequenceAt = number(line, "sequenceAt", 0);
    answer("");
  } else if (strncmp(line, "read", 4) == 0) {
    answer(",\"pings\":%llu,\"closed\":%llu,\"nowNs\":%llu,\"clientCpuNs\":%llu,\"serverCpuNs\":%llu",
           (unsigned long long)pings, (unsigned long long)closedConnections, (unsigned long long)now(),
           (unsigned long long)ownCpu(), (unsigned long long)cpuOf((pid_t)number(line, "server", 0)));
  } else if (strncmp(line, "about", 5) == 0) {
    bool zlibIsThere = false, tlsIsThere = false;
#ifdef WITH_ZLIB
    zlibIsThere = true;
#endif
#ifdef WITH_TLS
    tlsIsThere = true;
#endif
    answer(",\"zlib\":%s,\"tls\":%s", zlibIsThere ? "true" : "false", tlsIsThere ? "true" : "false");
  } else {
    fail("unknown command");
    answer("");
  }
}

static void commands(void) {
  static char *text;
  static size_t length, capacity;
  if (capacity - length < 65536) text = realloc(text, capacity = capacity * 2 + 131072);
  ssize_t got = read(STDIN_FILENO, text + length, capacity - length - 1);
  if (got <= 0) exit(0);
  length += (size_t)got;
  char *end;
  while ((end = memchr(text, '\n', length)) != NULL) {
    *end = 0;
    command(text);
    length -= (size_t)(end + 1 - text);
    memmove(text, end + 1, length);
  }
}

int main(void) {
  struct epoll_event events[EVENTS];
  struct rlimit limit;
  signal(SIGPIPE, SIG_IGN);
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  prepareFlood();
  epollFd = epoll_create1(EPOLL_CLOEXEC);
  timerFd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct epoll_event onTimer = {.events = EPOLLIN, .data.ptr = &timerFd};
  struct epoll_event onInput = {.events = EPOLLIN, .data.ptr = &epollFd};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, timerFd, &onTimer);
  epoll_ctl(epollFd, EPOLL_CTL_ADD, STDIN_FILENO, &onInput);
  for (;;) {
    int count = epoll_wait(epollFd, events, EVENTS, -1);
    bool input = false;
    for (int i = 0; i < count; i++) {
      void *who = events[i].data.ptr;
      if (who == &timerFd) {
        uint64_t expirations;
        if (read(timerFd, &expirations, sizeof expirations) < 0) continue;
      } else if (who == &epollFd) input = true;
      else ready(who, events[i].events);
    }
    /* Last: it may free connections that the events point to. */
    if (input) commands();
    if (job.kind == OPENING) stepOpen();
    else if (job.kind == RUNNING) stepRun();
    else if (job.kind == FLOODING) stepFlood();
    else if (job.kind == PROBING) stepProbe();
    else if (job.kind == AWAITING || job.kind == LEAVING) stepWaiting();
  }
}
