/* The commands on the PATH (ctr, pinnaced, ...) are this program under other names.
 *
 * It hands its arguments, environment, working directory and standard descriptors to the keeper, a warm
 * Python that forks the command, and then stands in for it: signals are passed on, the exit status is taken
 * over. When no keeper answers, or this user may not use it, it executes Python directly: slower, same
 * result. A command is never started twice: once the keeper has named a process there is no second way.
 *
 * The conversation, over a unix stream socket, is frames of a 32-bit little-endian length and JSON:
 *   -> {"op":"cli","argv":[...],"cwd_fd":true,"env":[["K","V"],...],"umask":18,"oom_score_adj":0,
 *       "rlimits":[[8388608,-1],...],"release":"/opt/..."}
 *      with the descriptors stdin, stdout, stderr, working directory and the command's end of a line of its own on its
 *      first byte (unix(7), SCM_RIGHTS)
 *   <- {"pid":N}
 *   -> {"op":"signal","signal":N}      any number of times
 *   <- {"exit":N} or {"signal":N}
 * The command itself says on its line, in the same form:
 *   <- {"exit":N}                      so that nobody waits for the end of its process
 *   <- {"cold":1}                      it has undone what it began: only Python started from here can do it
 *   <- {"spawn":1,"channel":C,"steps":S,"targets":[C,S,...]}
 *      with as many descriptors and a program: execute it with these descriptors under these numbers (init.c), as a
 *      child of this process. A container that stays behind has to become a child of who typed the command.
 * Bytes that are not UTF-8 travel as lone surrogates U+DC80..U+DCFF, Python's "surrogateescape" (PEP 383).
 *
 * Job control: the forked command is not in the terminal's session, so the kernel neither signals it nor
 * stops it. This process is, and passes on what it gets; Ctrl-Z stops the command first and this process
 * after it. In the background on a terminal the command would take the shell's input, which the kernel could
 * not prevent: then Python is executed directly and the usual rules hold.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define KEEPER "/run/pinnace/keeper.sock"
#define COMMAND "/libexec/command.py"
#define REPLY_MAX 4096
#define DESCRIPTORS_MAX 64
#define LIMITS_MAX 16 /* RLIM_NLIMITS of Linux */
#define EXIT_LOST 125 /* the keeper went away while the command ran; as env(1) and docker use it */

#define SEALED "PINNACE_SEALED" /* this process's id: Python need not make sure that its file can't be written */

/* Numbers of the kernel's interface (include/uapi/linux/mount.h), the same for every architecture; the headers of
 * some C libraries are older. */
#define CALL_OPEN_TREE 428
#define CALL_MOUNT_SETATTR 442
#define CLONE_TREE 1
#define READ_ONLY 1

struct attributes {
    uint64_t set, clear, propagation, user_namespace;
};

extern char **environ;

/* Text being made. The first pass, without storage, only counts; the second fills. */
struct text {
    unsigned char *data;
    size_t used;
};

static void put(struct text *out, unsigned char byte)
{
    if (out->data)
        out->data[out->used] = byte;
    out->used++;
}

static void put_all(struct text *out, const char *bytes)
{
    while (*bytes)
        put(out, (unsigned char)*bytes++);
}

/* The length of the valid UTF-8 sequence at s, 0 when there is none (Unicode 15, table 3-7).
 * s ends with a zero byte, which is never a continuation, so that no read goes past it. */
static size_t utf8_length(const unsigned char *s)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t more;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        more = 1;
    else if (s[0] >= 0xE0 && s[0] <= 0xEF)
        more = 2;
    else if (s[0] >= 0xF0 && s[0] <= 0xF4)
        more = 3;
    else
        return 0;
    if (s[0] == 0xE0)
        low = 0xA0;
    else if (s[0] == 0xED)
        high = 0x9F;
    else if (s[0] == 0xF0)
        low = 0x90;
    else if (s[0] == 0xF4)
        high = 0x8F;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i <= more; i++)
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    return more + 1;
}

static void put_escape(struct text *out, unsigned value)
{
    static const char hex[] = "0123456789abcdef";

    put_all(out, "\\u");
    for (int shift = 12; shift >= 0; shift -= 4)
        put(out, (unsigned char)hex[value >> shift & 0xF]);
}

/* A JSON string of the bytes from s to its end, or to the first `stop` when that is not zero. */
static void put_string(struct text *out, const char *from, char stop)
{
    const unsigned char *s = (const unsigned char *)from;

    put(out, '"');
    while (*s && (!stop || *s != (unsigned char)stop)) {
        size_t length = utf8_length(s);
        if (length == 0) {
            put_escape(out, 0xDC00u + *s++);
        } else if (*s < 0x20 || *s == 0x7F) {
            put_escape(out, *s++);
        } else {
            if (*s == '"' || *s == '\\')
                put(out, '\\');
            while (length--)
                put(out, *s++);
        }
    }
    put(out, '"');
}

static void put_number(struct text *out, uint64_t value)
{
    char digits[21];
    size_t at = sizeof digits;

    digits[--at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    put_all(out, digits + at);
}

/* What a command gets of its caller beside words and descriptors. Found out once: the request is written twice, and
 * somebody else may change some of it in between. */
struct caller {
    mode_t mask;
    struct rlimit limits[LIMITS_MAX]; /* by the resource's number in the kernel's interface */
    int count, oom_score_adj;
};

static void find_caller(struct caller *caller)
{
    char score[16] = "";
    int file = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);

    caller->mask = umask(0);
    umask(caller->mask);
    while (caller->count < LIMITS_MAX && getrlimit(caller->count, &caller->limits[caller->count]) == 0)
        caller->count++;
    if (file >= 0) {
        if (read(file, score, sizeof score - 1) > 0)
            caller->oom_score_adj = atoi(score);
        close(file);
    }
}

/* Pairs of a soft and a hard limit; -1 is none. */
static void put_limits(struct text *out, const struct caller *caller)
{
    for (int i = 0; i < caller->count; i++) {
        rlim_t pair[] = {caller->limits[i].rlim_cur, caller->limits[i].rlim_max};

        for (int half = 0; half < 2; half++) {
            put_all(out, half ? "," : i ? ",[" : "[");
            if (pair[half] == RLIM_INFINITY)
                put_all(out, "-1");
            else
                put_number(out, pair[half]);
        }
        put(out, ']');
    }
}

static void put_request(struct text *out, char **argv, const struct caller *caller, const char *release)
{
    put_all(out, "{\"op\":\"cli\",\"cwd_fd\":true,\"umask\":");
    put_number(out, caller->mask);
    put_all(out, caller->oom_score_adj < 0 ? ",\"oom_score_adj\":-" : ",\"oom_score_adj\":");
    put_number(out, (unsigned)abs(caller->oom_score_adj));
    put_all(out, ",\"rlimits\":[");
    put_limits(out, caller);
    put_all(out, "],\"release\":");
    put_string(out, release, 0);
    put_all(out, ",\"argv\":[");
    for (size_t i = 0; argv[i]; i++) {
        if (i)
            put(out, ',');
        put_string(out, argv[i], 0);
    }
    put_all(out, "],\"env\":[");
    for (size_t i = 0, many = 0; environ[i]; i++) {
        const char *equals = strchr(environ[i], '=');
        if (!equals || equals == environ[i])
            continue; /* not a variable: nothing that setenv(3) could have made */
        put_all(out, many++ ? ",[" : "[");
        put_string(out, environ[i], '=');
        put(out, ',');
        put_string(out, equals + 1, 0);
        put(out, ']');
    }
    put_all(out, "]}");
}

static void say(const char *first, const char *second)
{
    struct text line = {0};
    unsigned char bytes[512];

    line.data = bytes;
    if (strlen(first) + strlen(second) < sizeof bytes) {
        put_all(&line, first);
        put_all(&line, second);
        put(&line, '\n');
        if (write(STDERR_FILENO, bytes, line.used) < 0)
            return; /* nobody listens */
    }
}

/* Sockets. Every function here returns 0, or -1 when the peer is gone or broken. */

static int write_all(int fd, const unsigned char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        data += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* Sends data with descriptors on its first byte. */
static int write_with(int fd, const unsigned char *data, size_t size, const int *fds, size_t count)
{
    union {
        char bytes[CMSG_SPACE(5 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct cmsghdr *header;
    ssize_t sent;

    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent <= 0)
        return -1;
    return write_all(fd, data + sent, size - (size_t)sent);
}

/* Whether the keeper sees what we see: a command that was typed in other namespaces (ip netns exec, unshare) belongs
 * there, with its mounts, network and names. */
static int shares_namespaces(pid_t keeper)
{
    static const char *const kinds[] = {"mnt", "pid", "net", "ipc", "uts", "user", "cgroup"};
    char path[64];

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct text out = {.data = (unsigned char *)path};
        struct stat own, its;

        put_all(&out, "/proc/self/ns/");
        put_all(&out, kinds[i]);
        put(&out, 0);
        if (stat(path, &own) < 0)
            continue; /* a kind that this kernel does not have */
        out.used = sizeof "/proc/" - 1;
        put_number(&out, (unsigned)keeper);
        put_all(&out, "/ns/");
        put_all(&out, kinds[i]);
        put(&out, 0);
        if (stat(path, &its) < 0 || own.st_ino != its.st_ino || own.st_dev != its.st_dev)
            return 0;
    }
    return 1;
}

static int connect_keeper(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t size = sizeof peer;
    int fd, done;

    if (!*path || strlen(path) >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    do
        done = connect(fd, (struct sockaddr *)&address, sizeof address);
    while (done < 0 && errno == EINTR);
    if (done < 0 && errno == EISCONN)
        done = 0; /* it was connected when the signal came */
    /* Only root or ourselves may be given our descriptors. */
    if (done < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != 0 && peer.uid != geteuid()) || !shares_namespaces(peer.pid)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void store_length(unsigned char *four, size_t size)
{
    for (int i = 0; i < 4; i++)
        four[i] = (unsigned char)(size >> (8 * i));
}

/* Asks for the command, whose end of its line is `theirs`. 0 when the whole request was taken. */
static int send_request(int fd, int theirs, char **argv, const char *release)
{
    struct caller caller = {0};
    struct text out = {0};
    int fds[5] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, -1, theirs};
    size_t size;
    int failed;

    fds[3] = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fds[3] < 0)
        return -1;
    find_caller(&caller);
    put_request(&out, argv, &caller, release);
    size = out.used + 4;
    if (out.used > INT32_MAX)
        return -1;
    out.data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (out.data == MAP_FAILED)
        return -1;
    store_length(out.data, out.used);
    out.used = 4;
    put_request(&out, argv, &caller, release);
    failed = write_with(fd, out.data, size, fds, 5);
    munmap(out.data, size);
    close(fds[3]);
    return failed;
}

/* A line, and the reply that arrives on it in pieces: `have` counts what is there of the length and the text behind it.
 * The descriptors that came with it are ours. */
struct line {
    int fd; /* -1 once the other end is gone */
    size_t have, count;
    int fds[DESCRIPTORS_MAX];
    unsigned char bytes[4 + REPLY_MAX + 1];
};

static size_t reply_size(const struct line *line)
{
    return (size_t)line->bytes[0] | (size_t)line->bytes[1] << 8 | (size_t)line->bytes[2] << 16 |
           (size_t)line->bytes[3] << 24;
}

/* Takes what came with a message; more than there is room for was not taken from it. */
static void keep_descriptors(struct line *line, struct msghdr *message)
{
    struct cmsghdr *first = CMSG_FIRSTHDR(message);
    size_t count;

    if (!first || first->cmsg_level != SOL_SOCKET || first->cmsg_type != SCM_RIGHTS || line->count)
        return;
    count = (first->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(line->fds, CMSG_DATA(first), count * sizeof(int));
    line->count = count;
}

static void close_descriptors(struct line *line)
{
    while (line->count)
        close(line->fds[--line->count]);
}

/* Reads on. 1: a whole reply is there, ended by a zero byte; 0: not yet; -1: gone or broken. */
static int read_reply(struct line *line)
{
    union {
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    size_t want = 4;
    struct iovec part;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
    ssize_t got;

    if (line->have >= 4) {
        want = 4 + reply_size(line);
        if (want > 4 + REPLY_MAX)
            return -1;
    }
    part = (struct iovec){.iov_base = line->bytes + line->have, .iov_len = want - line->have};
    message.msg_controllen = sizeof control.bytes;
    got = recvmsg(line->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0)
        return -1;
    keep_descriptors(line, &message);
    line->have += (size_t)got;
    if (line->have < 4 || reply_size(line) == 0)
        return line->have < 4 ? 0 : -1;
    if (line->have < 4 + reply_size(line))
        return 0;
    line->bytes[line->have] = 0;
    line->have = 0;
    return 1;
}

/* The number at `at`, behind blanks and signs, and where it ends; -1 when there is none. */
static int number_at(const char *at, const char **end)
{
    int value = 0;

    while (*at == ' ' || *at == ':' || *at == ',' || *at == '[')
        at++;
    if (*at < '0' || *at > '9')
        return -1;
    for (; *at >= '0' && *at <= '9' && value < INT_MAX / 10 - 1; at++)
        value = value * 10 + (*at - '0');
    if (end)
        *end = at;
    return value;
}

/* The number behind "key": in a reply, or -1. Replies are flat objects of small numbers. */
static int number_in(const struct line *line, const char *key)
{
    const char *at = strstr((const char *)line->bytes + 4, key);

    return at ? number_at(at + strlen(key), NULL) : -1;
}

/* Signals */

static const int passed_on[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGTSTP,
                                SIGCONT, SIGWINCH, SIGUSR1, SIGUSR2};
#define PASSED_ON (sizeof passed_on / sizeof passed_on[0])

static volatile sig_atomic_t pending[PASSED_ON];

static void note_signal(int signal)
{
    for (size_t i = 0; i < PASSED_ON; i++)
        if (passed_on[i] == signal)
            pending[i] = 1;
}

/* From here on the signals only arrive inside ppoll(2), which gets `inside` as its mask. */
static void hold_signals(sigset_t *inside)
{
    struct sigaction action = {.sa_handler = note_signal}, before;
    sigset_t held;

    sigemptyset(&held);
    for (size_t i = 0; i < PASSED_ON; i++)
        sigaddset(&held, passed_on[i]);
    sigprocmask(SIG_BLOCK, &held, inside);
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < PASSED_ON; i++) {
        /* Ignored by who started us (nohup, a shell's `&`): stays so. */
        if (sigaction(passed_on[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN)
            continue;
        sigaction(passed_on[i], &action, NULL);
        sigdelset(inside, passed_on[i]);
    }
}

static void release_signals(const sigset_t *inside)
{
    struct sigaction before;

    for (size_t i = 0; i < PASSED_ON; i++)
        if (sigaction(passed_on[i], NULL, &before) == 0 && before.sa_handler == note_signal)
            signal(passed_on[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, inside, NULL);
}

static int send_signal(int fd, int signal)
{
    unsigned char bytes[64];
    struct text out = {.data = bytes, .used = 4};

    put_all(&out, "{\"op\":\"signal\",\"signal\":");
    put_number(&out, (unsigned)signal);
    put(&out, '}');
    store_length(bytes, out.used - 4);
    return write_all(fd, bytes, out.used);
}

static int pass_on_signals(int fd)
{
    for (size_t i = 0; i < PASSED_ON; i++) {
        if (!pending[i])
            continue;
        pending[i] = 0;
        if (passed_on[i] != SIGTSTP) {
            if (send_signal(fd, passed_on[i]) < 0)
                return -1;
            continue;
        }
        /* The command's process group is orphaned for the terminal, so SIGTSTP would do nothing there. */
        if (send_signal(fd, SIGSTOP) < 0)
            return -1;
        raise(SIGSTOP);
        /* Continued: SIGCONT is pending by now and is passed on in its turn. */
    }
    return 0;
}

/* Ends as the command ended. */
static void die_of(int signal_number)
{
    sigset_t only;

    signal(signal_number, SIG_DFL);
    sigemptyset(&only);
    sigaddset(&only, signal_number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    raise(signal_number);
    _exit(128 + signal_number);
}

/* Waits for one whole reply while passing signals on; the line that it came on, NULL when the keeper is gone. What the
 * command says goes first: it may have ended before the keeper. */
static struct line *next_reply(struct line *keeper, struct line *own, const sigset_t *inside)
{
    for (;;) {
        struct pollfd wait[] = {{.fd = own->fd, .events = POLLIN}, {.fd = keeper->fd, .events = POLLIN}};
        int ready = ppoll(wait, 2, NULL, inside), whole;

        if (pass_on_signals(keeper->fd) < 0 && !wait[0].revents)
            return NULL;
        if (ready < 0 && errno != EINTR)
            return NULL;
        if (ready <= 0)
            continue;
        if (wait[0].revents) {
            whole = read_reply(own);
            if (whole > 0)
                return own;
            if (whole < 0) {
                close(own->fd);
                own->fd = -1;
            }
        } else if ((whole = read_reply(keeper)) != 0) {
            return whole < 0 ? NULL : keeper;
        }
    }
}

/* The child: puts the descriptors under their numbers and executes the program. Returns when that is not possible. */
static void execute_init(struct line *line, const int *targets, int channel, int steps)
{
    int count = (int)line->count - 1, above = 3;
    char path[] = "/proc/self/fd/0000000000", number[2][12];
    char *words[] = {(char *)(uintptr_t)"pinnace:init", number[0], number[1], NULL}, *nothing[] = {NULL};
    struct text out = {.data = (unsigned char *)path, .used = sizeof "/proc/self/fd/" - 1};

    for (int i = 0; i < count; i++)
        if (targets[i] >= above)
            above = targets[i] + 1;
    /* Out of the way first: one may lie where another one belongs. */
    for (int i = 0; i <= count; i++)
        if ((line->fds[i] = fcntl(line->fds[i], F_DUPFD_CLOEXEC, above)) < 0)
            return;
    for (int i = 0; i < count; i++)
        if (dup2(line->fds[i], targets[i]) < 0)
            return;
    put_number(&out, (unsigned)line->fds[count]);
    put(&out, 0);
    for (int i = 0; i < 2; i++) {
        struct text word = {.data = (unsigned char *)number[i]};
        put_number(&word, (unsigned)(i ? steps : channel));
        put(&word, 0);
    }
    execve(path, words, nothing);
}

/* Starts a container's first process as our own child. When that fails the other end of its channel sees it end. */
static pid_t spawn(struct line *line)
{
    const char *at = strstr((const char *)line->bytes + 4, "\"targets\"");
    int channel = number_in(line, "\"channel\""), steps = number_in(line, "\"steps\"");
    int targets[DESCRIPTORS_MAX];
    size_t count = 0;
    pid_t child = -1;

    at = at ? at + sizeof "\"targets\"" - 1 : "";
    while (count < DESCRIPTORS_MAX && (targets[count] = number_at(at, &at)) > STDERR_FILENO)
        count++;
    if (channel >= 0 && steps >= 0 && line->count == count + 1)
        child = fork();
    if (child == 0) {
        execute_init(line, targets, channel, steps);
        _exit(EXIT_LOST);
    }
    close_descriptors(line);
    return child;
}

/* What it started goes on by itself; only its own end is waited for, which came before. */
static _Noreturn void end(int status, pid_t child)
{
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    _exit(status & 0xFF);
}

/* Runs the command through the keeper and does not return, unless nothing was started. */
static void run_warm(int fd, char **argv, const char *release)
{
    static struct line keeper, own;
    struct line *said;
    struct termios terminal;
    sigset_t inside;
    int has_terminal = tcgetattr(STDIN_FILENO, &terminal) == 0, begun = 0, value, ends[2];
    pid_t child = -1;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return;
    keeper.fd = fd;
    own.fd = ends[0];
    /* Held before the request is out: once it is, a signal is for the command. */
    hold_signals(&inside);
    value = send_request(fd, ends[1], argv, release);
    close(ends[1]);
    while (value == 0 && (said = next_reply(&keeper, &own, &inside))) {
        value = number_in(said, "\"exit\"");
        if (value >= 0)
            end(value, child);
        value = 0;
        if (said == &own && number_in(said, "\"spawn\"") > 0 && child < 0) {
            child = spawn(said);
        } else if (said == &own && number_in(said, "\"cold\"") > 0) {
            begun = 0;
            break;
        } else if (said == &keeper && number_in(said, "\"signal\"") > 0 && number_in(said, "\"signal\"") < 128) {
            /* It had no chance to put the terminal back. */
            if (has_terminal)
                tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal);
            die_of(number_in(said, "\"signal\""));
        } else if (said == &keeper && !begun) {
            begun = number_in(said, "\"pid\"") >= 0;
            if (!begun)
                break; /* refused, or an older protocol: nothing runs yet */
        }
    }
    if (!begun) {
        close_descriptors(&own);
        if (own.fd >= 0)
            close(own.fd);
        release_signals(&inside);
        return;
    }
    if (has_terminal)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal);
    say(argv[0], ": the keeper went away while the command ran; see: journalctl -u pinnace-keeper");
    _exit(EXIT_LOST);
}

/* Executes a program from a read-only mount of that one file, which is in nobody's mount table: a container that
 * finds this process as /proc/PID/exe can't write to the host's program through it (CVE-2019-5736), and Python need
 * not copy and start itself a second time for that (pinnace/linux/sealed.py, which reads SEALED). Returns when the
 * kernel, or this user's rights, do not do it. */
static void exec_read_only(const char *program, char **words)
{
    struct attributes attributes = {.set = READ_ONLY};
    char path[] = "/proc/self/fd/0000000000", pid[12];
    struct text out = {.data = (unsigned char *)path, .used = sizeof "/proc/self/fd/" - 1};
    int fd = (int)syscall(CALL_OPEN_TREE, AT_FDCWD, program, CLONE_TREE | O_CLOEXEC);

    if (fd < 0)
        return;
    if (syscall(CALL_MOUNT_SETATTR, fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0) {
        put_number(&out, (unsigned)fd);
        put(&out, 0);
        out.data = (unsigned char *)pid;
        out.used = 0;
        put_number(&out, (unsigned)getpid());
        put(&out, 0);
        if (setenv(SEALED, pid, 1) == 0)
            execv(path, words);
        unsetenv(SEALED);
    }
    close(fd);
}

/* Executes Python directly. Returns only when that is not possible. */
static void run_cold(char **argv, const char *release)
{
    static const char *const pythons[] = {"/usr/bin/python3", "/usr/local/bin/python3"};
    char script[PATH_MAX + sizeof COMMAND];
    size_t count = 0;
    char **words;

    memcpy(script, release, strlen(release));
    memcpy(script + strlen(release), COMMAND, sizeof COMMAND);
    while (argv[count])
        count++;
    words = mmap(NULL, (count + 4) * sizeof *words, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return;
    words[1] = "-ISB"; /* alone, and writing nothing into the read-only release */
    words[2] = script;
    memcpy(words + 3, argv, (count + 1) * sizeof *words);
    for (size_t i = 0; i < sizeof pythons / sizeof pythons[0]; i++) {
        words[0] = (char *)(uintptr_t)pythons[i]; /* Python would look a bare name up in the caller's PATH */
        exec_read_only(pythons[i], words);
        execv(pythons[i], words);
    }
}

/* The release this program belongs to: two levels above its own file. 0, or -1 when that is unknown. */
static int find_release(char *path, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", path, size - 1);

    if (length <= 0 || (size_t)length >= size - 1)
        return -1;
    path[length] = 0;
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return -1;
        *slash = 0;
    }
    return 0;
}

/* Descriptors 0 to 2 must be open: a socket that lands there would be taken for the command's own. */
static int open_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -1;
    return close(fd);
}

static int in_background(void)
{
    pid_t foreground = tcgetpgrp(STDIN_FILENO);

    return foreground > 0 && foreground != getpgrp();
}

int main(int argc, char **argv)
{
    char release[PATH_MAX];
    const char *keeper = getenv("PINNACE_KEEPER"); /* empty: do without one */
    int fd = -1;

    if (argc < 1 || open_standard_descriptors() < 0)
        return EXIT_LOST;
    if (find_release(release, sizeof release) < 0) {
        say(argv[0], ": cannot tell which release it belongs to: /proc/self/exe is not readable");
        return EXIT_LOST;
    }
    if (!in_background())
        fd = connect_keeper(keeper ? keeper : KEEPER);
    if (fd >= 0) {
        run_warm(fd, argv, release);
        close(fd);
    }
    run_cold(argv, release);
    say(argv[0], ": no keeper answers and there is no /usr/bin/python3; install Debian's python3");
    return EXIT_LOST;
}
