/*
 * The load client of scale.mjs: WebSockets over HTTP/2 (RFC 8441, prior knowledge), many per session; one thread, epoll, libnghttp2.
 * Commands come on stdin, one a line (name, then key=value), answers go to stdout, one JSON object a line.
 * Between commands it goes on reading, and answers pings and closing handshakes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
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

enum { READ = 1 << 16, EVENTS = 512, OUTBOX = 56, KEEP = 16, PROBE_BYTES = 8 };
enum { WINDOW = 1 << 20 };
static const uint64_t MS = 1000000, SECOND = 1000000000;

typedef struct Session Session;

/* One WebSocket. Its frames are read byte by byte in three states: head, payload, nothing. */
typedef struct {
  Session *session;
  int32_t id;
  uint8_t head[10], headLength, headNeeds;
  uint8_t kept[KEEP], keptLength;
  uint8_t outbox[OUTBOX], outLength;
  bool open, ended, closes, isDeferred;
  uint64_t left;
} Stream;

struct Session {
  int fd;
  nghttp2_session *http2;
  bool ready, dead;
  int streams;
  Stream *first; /* where its streams begin */
};

typedef enum { NOTHING, OPENING, AWAITING, PROBING, PAUSING } JobKind;

static struct {
  JobKind kind;
  uint64_t began, until, interval;
  int sessions, perSession, nextStream, inFlight, mostInFlight, total, limit;
  uint64_t ticks, planned, due;
  uint64_t target;
} job;

static int epollFd, timerFd, port;
static uint64_t now, opened, closed, refused, messages, pings, errors;
static char path[128];
static Session *all;
static Stream *streams;
static Stream *probe;
static uint64_t *samples;
static size_t sampled, sampleRoom;

static uint64_t clockNow(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static uint64_t cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
         (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void die(const char *reason) {
  fprintf(stderr, "http2 load: %s\n", reason);
  exit(1);
}

static void answer(const char *more) {
  printf("{\"nowNs\":%llu,\"tookNs\":%llu,\"cpuNs\":%llu,\"opened\":%llu,\"closed\":%llu,\"refused\":%llu,\"messages\":%llu,"
         "\"pings\":%llu,\"errors\":%llu%s}\n",
         (unsigned long long)now, (unsigned long long)(now - job.began), (unsigned long long)cpu(), (unsigned long long)opened,
         (unsigned long long)closed, (unsigned long long)refused, (unsigned long long)messages, (unsigned long long)pings,
         (unsigned long long)errors, more);
  fflush(stdout);
  job.kind = NOTHING;
}

static void wake(uint64_t at) {
  struct itimerspec spec = {0};
  spec.it_value.tv_sec = (time_t)(at / SECOND);
  spec.it_value.tv_nsec = (long)(at % SECOND);
  timerfd_settime(timerFd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* ---- sending */

static ssize_t readOutbox(nghttp2_session *http2, int32_t id, uint8_t *to, size_t room, uint32_t *flags, nghttp2_data_source *source,
                          void *user) {
  (void)http2, (void)id, (void)user;
  Stream *s = source->ptr;
  if (s->outLength == 0 && !s->closes) {
    s->isDeferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  size_t length = s->outLength < room ? s->outLength : room;
  memcpy(to, s->outbox, length);
  s->outLength = (uint8_t)(s->outLength - length);
  memmove(s->outbox, s->outbox + length, s->outLength);
  if (s->outLength == 0 && s->closes) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)length;
}

/* A masked frame; the mask is zero, so the payload goes as it is. */
static void sendFrame(Stream *s, uint8_t opcode, const uint8_t *payload, size_t length) {
  if (s->closes || s->ended) return;
  if (s->outLength + 6 + length > OUTBOX) {
    errors++;
    return;
  }
  uint8_t *to = s->outbox + s->outLength;
  to[0] = (uint8_t)(0x80 | opcode);
  to[1] = (uint8_t)(0x80 | length);
  memset(to + 2, 0, 4);
  memcpy(to + 6, payload, length);
  s->outLength = (uint8_t)(s->outLength + 6 + length);
  if (opcode == 8) s->closes = true;
  if (s->isDeferred) {
    s->isDeferred = false;
    nghttp2_session_resume_data(s->session->http2, s->id);
  }
}

/* ---- receiving */

static void probed(void);

static void frameEnds(Stream *s) {
  switch (s->head[0] & 15) {
    case 1:
    case 2:
      if (s == probe) probed();
      else messages++;
      break;
    case 8:
      sendFrame(s, 8, s->kept, s->keptLength < 2 ? s->keptLength : 2);
      break;
    case 9:
      pings++;
      sendFrame(s, 10, s->kept, s->keptLength);
  }
  s->headLength = s->keptLength = 0;
  s->headNeeds = 2;
}

static int onData(nghttp2_session *http2, uint8_t flags, int32_t id, const uint8_t *data, size_t length, void *user) {
  (void)flags, (void)user;
  Stream *s = nghttp2_session_get_stream_user_data(http2, id);
  while (s && length > 0) {
    if (s->headLength < s->headNeeds) {
      s->head[s->headLength++] = *data++;
      length--;
      if (s->headLength == 2 && (s->head[1] & 127) > 125) s->headNeeds = (s->head[1] & 127) == 126 ? 4 : 10;
      if (s->headLength < s->headNeeds) continue;
      s->left = s->head[1] & 127;
      if (s->headNeeds > 2) {
        s->left = 0;
        for (int i = 2; i < s->headNeeds; i++) s->left = s->left << 8 | s->head[i];
      }
    }
    size_t part = s->left < length ? (size_t)s->left : length;
    for (size_t i = 0; i < part && s->keptLength < KEEP; i++) s->kept[s->keptLength++] = data[i];
    data += part;
    length -= part;
    s->left -= part;
    if (s->left == 0) frameEnds(s);
  }
  return 0;
}

static int onHeader(nghttp2_session *http2, const nghttp2_frame *frame, const uint8_t *name, size_t nameLength, const uint8_t *value,
                    size_t valueLength, uint8_t flags, void *user) {
  (void)flags, (void)user;
  if (nameLength != 7 || memcmp(name, ":status", 7) != 0) return 0;
  Stream *s = nghttp2_session_get_stream_user_data(http2, frame->hd.stream_id);
  if (!s) return 0;
  job.inFlight--;
  if (valueLength == 3 && memcmp(value, "200", 3) == 0) {
    s->open = true;
    if (s != probe) opened++;
  } else refused++;
  return 0;
}

static int onFrame(nghttp2_session *http2, const nghttp2_frame *frame, void *user) {
  Session *session = user;
  if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
    session->ready = nghttp2_session_get_remote_settings(http2, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
    if (!session->ready) die("the server has no extended CONNECT");
  }
  return 0;
}

static int onStreamClose(nghttp2_session *http2, int32_t id, uint32_t code, void *user) {
  (void)user, (void)code;
  Stream *s = nghttp2_session_get_stream_user_data(http2, id);
  if (!s || s->ended) return 0;
  s->ended = true;
  if (s->open) {
    if (s != probe) closed++;
  } else job.inFlight--, refused++;
  return 0;
}

/* ---- sessions */

static void loseSession(Session *session) {
  if (session->dead) return;
  session->dead = true;
  for (int i = 0; i < session->streams; i++) {
    Stream *s = &session->first[i];
    if (!s->ended && s->id) onStreamClose(session->http2, s->id, 0, session);
  }
  close(session->fd);
}

static void flush(Session *session) {
  if (session->dead) return;
  for (;;) {
    const uint8_t *data;
    ssize_t length = nghttp2_session_mem_send(session->http2, &data);
    if (length == 0) return;
    if (length < 0) {
      loseSession(session);
      return;
    }
    for (ssize_t done = 0; done < length;) {
      ssize_t written = send(session->fd, data + done, (size_t)(length - done), MSG_NOSIGNAL);
      if (written > 0) done += written;
      else if (errno == EAGAIN) { /* so little waits that a short pause is simpler than a queue */
        struct timespec pause = {0, 100000};
        nanosleep(&pause, NULL);
      } else {
        loseSession(session);
        return;
      }
    }
  }
}

static void readSession(Session *session) {
  static uint8_t input[READ];
  if (session->dead) return;
  for (;;) {
    ssize_t length = recv(session->fd, input, sizeof input, 0);
    if (length < 0 && errno == EAGAIN) break;
    if (length <= 0 || nghttp2_session_mem_recv(session->http2, input, (size_t)length) < 0) {
      loseSession(session);
      return;
    }
    if (length < (ssize_t)sizeof input) break;
  }
  flush(session);
}

static void openSession(Session *session) {
  static nghttp2_session_callbacks *callbacks;
  if (!callbacks) {
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onStreamClose);
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  session->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (session->fd < 0) die("no socket");
  if (connect(session->fd, (struct sockaddr *)&to, sizeof to) != 0) die("cannot connect");
  int yes = 1;
  setsockopt(session->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  fcntl(session->fd, F_SETFL, O_NONBLOCK);
  nghttp2_session_client_new(&session->http2, callbacks, session);
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
  nghttp2_submit_settings(session->http2, NGHTTP2_FLAG_NONE, settings, 2);
  nghttp2_session_set_local_window_size(session->http2, NGHTTP2_FLAG_NONE, 0, 16 * WINDOW);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, session->fd, &event);
  flush(session);
}

#define HEADER(name, value) {(uint8_t *)name, (uint8_t *)value, sizeof name - 1, strlen(value), NGHTTP2_NV_FLAG_NONE}

static void openStream(Session *session, Stream *s, int index) {
  char where[160], host[32];
  snprintf(where, sizeof where, "%s%d", path, index);
  snprintf(host, sizeof host, "127.0.0.1:%d", port);
  nghttp2_nv headers[] = {HEADER(":method", "CONNECT"), HEADER(":protocol", "websocket"), HEADER(":scheme", "http"),
                          HEADER(":path", where), HEADER(":authority", host), HEADER("sec-websocket-version", "13")};
  nghttp2_data_provider provider = {.source.ptr = s, .read_callback = readOutbox};
  s->session = session;
  s->headNeeds = 2;
  session->streams++;
  s->id = nghttp2_submit_request(session->http2, NULL, headers, sizeof headers / sizeof *headers, &provider, s);
  if (s->id < 0) die("no stream");
  job.inFlight++;
}

/* ---- jobs */

/* Keeps up to mostInFlight streams on their way. */
static void openMore(void) {
  while (job.nextStream < job.limit && job.inFlight < job.mostInFlight) {
    Session *session = &all[job.nextStream / job.perSession];
    if (session->fd == 0) {
      session->first = &streams[job.nextStream];
      openSession(session);
    }
    if (session->dead) die("a session ended");
    if (!session->ready) return; /* its settings are on their way */
    openStream(session, &streams[job.nextStream], job.nextStream);
    job.nextStream++;
    if (job.nextStream % job.perSession == 0 || job.inFlight == job.mostInFlight) flush(session);
  }
  if (job.nextStream == job.limit && job.inFlight == 0) answer("");
}

/* Open loop: each echo is timed from when it was due, so a stall counts for all that were due in it. */
static void probeMore(void) {
  static const uint8_t payload[PROBE_BYTES] = "probe...";
  while (job.ticks < job.planned && job.due + job.ticks * job.interval <= now) {
    sendFrame(probe, 1, payload, sizeof payload);
    flush(probe->session);
    job.ticks++;
  }
  if (job.ticks < job.planned) wake(job.due + job.ticks * job.interval);
}

static int byValue(const void *a, const void *b) {
  uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
  return one < other ? -1 : one > other;
}

static void probeEnds(void) {
  char more[160] = "";
  qsort(samples, sampled, sizeof *samples, byValue);
  if (sampled)
    snprintf(more, sizeof more, ",\"echoes\":%zu,\"p50Ns\":%llu,\"p99Ns\":%llu,\"maxNs\":%llu", sampled,
             (unsigned long long)samples[sampled / 2], (unsigned long long)samples[sampled * 99 / 100],
             (unsigned long long)samples[sampled - 1]);
  answer(more);
}

static void probed(void) {
  if (job.kind != PROBING) return;
  if (sampled == sampleRoom) samples = realloc(samples, (sampleRoom = sampleRoom ? 2 * sampleRoom : 1024) * sizeof *samples);
  samples[sampled] = now - (job.due + sampled * job.interval);
  sampled++;
  if (sampled == job.planned) probeEnds();
}

static void tick(void) {
  uint64_t expired;
  if (read(timerFd, &expired, sizeof expired) < 0) return;
  if (job.kind == PROBING && job.due) probeMore();
  if ((job.kind == PAUSING || job.kind == AWAITING) && now >= job.until) answer("");
}

static uint64_t value(const char *line, const char *key) {
  char pattern[32];
  snprintf(pattern, sizeof pattern, " %s=", key);
  const char *at = strstr(line, pattern);
  return at ? strtoull(at + strlen(pattern), NULL, 10) : 0;
}

static void command(const char *line) {
  job.began = now;
  if (strncmp(line, "open ", 5) == 0) {
    const char *at = strstr(line, " path=");
    if (!at || sscanf(at + 6, "%127s", path) != 1) die("open without a path");
    port = (int)value(line, "port");
    job.sessions = (int)value(line, "sessions");
    job.perSession = (int)value(line, "streams");
    job.mostInFlight = (int)value(line, "inFlight");
    job.total = job.sessions * job.perSession;
    all = calloc((size_t)job.sessions + 1, sizeof *all);
    streams = calloc((size_t)job.total + 1, sizeof *streams);
    if (!all || !streams) die("no memory");
    job.limit = (int)value(line, "limit");
    job.kind = OPENING;
    openMore();
  } else if (strncmp(line, "more ", 5) == 0) {
    job.limit = (int)value(line, "limit");
    job.kind = OPENING;
    openMore();
  } else if (strncmp(line, "probe ", 6) == 0) {
    Session *session = &all[job.sessions];
    sampled = 0;
    job.kind = PROBING;
    job.interval = value(line, "intervalUs") * 1000;
    job.planned = value(line, "ms") * MS / job.interval;
    job.ticks = job.due = 0;
    if (session->fd == 0) {
      session->first = probe = &streams[job.total];
      probe->session = session;
      openSession(session);
    }
  } else if (strncmp(line, "mark", 4) == 0) {
    messages = 0;
    answer("");
  } else if (strncmp(line, "await ", 6) == 0) {
    job.kind = AWAITING;
    job.target = value(line, "messages");
    job.until = now + value(line, "ms") * MS;
    wake(job.until);
  } else if (strncmp(line, "gone ", 5) == 0) {
    job.kind = PAUSING; /* answered when all are closed, or at the latest after ms */
    job.until = now + value(line, "ms") * MS;
    wake(job.until);
  } else if (strncmp(line, "read", 4) == 0) answer("");
  else die("unknown command");
}

static void look(void) {
  Session *own = probe ? probe->session : NULL;
  if (job.kind == OPENING) openMore();
  if (job.kind == PROBING && own && own->ready && probe->id == 0) {
    openStream(own, probe, job.total);
    flush(own);
  } else if (job.kind == PROBING && probe->open && job.due == 0) {
    job.due = now + job.interval;
    wake(job.due);
  }
  if (job.kind == AWAITING && messages >= job.target) answer("");
  if (job.kind == PAUSING && closed + refused >= opened) answer("");
}

int main(void) {
  static char line[512];
  struct epoll_event events[EVENTS];
  size_t length = 0;
  epollFd = epoll_create1(0);
  timerFd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct epoll_event input = {.events = EPOLLIN, .data.u64 = 1}, timer = {.events = EPOLLIN, .data.u64 = 2};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, 0, &input);
  epoll_ctl(epollFd, EPOLL_CTL_ADD, timerFd, &timer);
  for (;;) {
    int count = epoll_wait(epollFd, events, EVENTS, -1);
    now = clockNow();
    for (int i = 0; i < count; i++) {
      if (events[i].data.u64 == 1) {
        ssize_t more = read(0, line + length, sizeof line - 1 - length);
        if (more <= 0) return 0;
        length += (size_t)more;
        line[length] = 0;
        char *end = strchr(line, '\n');
        if (!end) continue;
        *end = 0;
        length = 0;
        command(line);
      } else if (events[i].data.u64 == 2) tick();
      else {
        now = clockNow();
        readSession(events[i].data.ptr);
      }
    }
    look();
  }
}
