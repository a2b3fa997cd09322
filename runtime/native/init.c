/* init: what runs between a container's creator and its program.
 *
 * The creator (pinnace/runc/native.py) has looked everything up and checked it; what is left is a list of steps that
 * have to be taken by the process itself: enter namespaces, mount, let go of privileges, execute. Python could do
 * that, too, and does where this program can't (pinnace/runc/init.py); but an interpreter costs 10 MB and thousands
 * of page faults in every container that waits for its start, and this costs 100 KB.
 *
 *   init CHANNEL DESCRIPTION
 *   init LINE
 *
 * All are descriptors: a SOCK_SEQPACKET socket to the creator, and a file with the steps. With a LINE, a socket of that
 * kind as well, it is started before anybody wants a container, and waits until both, and whatever else the steps
 * need, come through it (pinnace/runc/waiting.py). The file is a magic number
 * and then, for each step, its number and its fields; numbers are 64 bits in the machine's order, texts and bytes a
 * length, then the bytes, a zero byte, and zeros up to a multiple of 8. A description that is not exactly that
 * ends the process before it has done anything for anybody.
 *
 * Every file of the image is reached by a descriptor that openat2(2) resolved inside the root, never by a path that
 * somebody could change meanwhile; without openat2 (before Linux 5.6) the creator does not use this program.
 */

#include "init.h"

#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#define MAGIC UINT64_C(0x3174696e69636e70) /* "pncinit1" */
#define CALL_CLONE3 435
#define CALL_CLOSE_RANGE 436
#define CLOSE_RANGE_KEEP 4 /* CLOSE_RANGE_CLOEXEC: close when a program is executed */
#define INTO_CGROUP UINT64_C(0x200000000)
#define JOIN_SESSION_KEYRING 1
#define PROC_MAGIC 0x9FA0
#define PROC_ROOT_INODE 1
#define NO_DESCRIPTOR UINT64_C(0xFFFFFFFF)
#define DESCRIPTORS_MAX 64
#define LIMITS_MAX 16 /* RLIM_NLIMITS of Linux */

int channel;

static struct {
    const unsigned char *at, *end;
} rest;

/* Said when the step that runs fails: JSON text, its gRPC status, and how Python shall word the error. */
static struct {
    const char *text;
    uint64_t status, style;
} about = {"", 2, 0};

static jmp_buf after_step;
static int is_optional;

/* Whether this process is in the version 2 control group it belongs to, if there is one. */
static int is_inside = 1;

/* Reading */

/* Never forgiven, as what follows can't be told any more. */
static _Noreturn void malformed(void)
{
    is_optional = 0;
    fail_because("malformed description");
}

static const unsigned char *take(size_t size)
{
    const unsigned char *found = rest.at;

    if (size > (size_t)(rest.end - rest.at))
        malformed();
    rest.at += size;
    return found;
}

uint64_t number(void)
{
    uint64_t value;

    memcpy(&value, take(sizeof value), sizeof value);
    return value;
}

int small_number(void)
{
    uint64_t value = number();

    if (value > INT_MAX)
        malformed();
    return (int)value;
}

const unsigned char *bytes(size_t *size)
{
    uint64_t length = number();
    const unsigned char *found;

    /* Compared first: the sum below could wrap around. */
    if (length >= (uint64_t)(rest.end - rest.at))
        malformed();
    found = take((size_t)(length + 8) / 8 * 8);
    if (found[length])
        malformed();
    *size = (size_t)length;
    return found;
}

const char *text(void)
{
    size_t size;
    const char *found = (const char *)bytes(&size);

    if (strlen(found) != size)
        malformed();
    return found;
}

char **texts(size_t *count)
{
    uint64_t many = number();
    char **found;

    if (many > (uint64_t)(rest.end - rest.at) / 16) /* each takes 16 bytes at least */
        malformed();
    found = calloc((size_t)many + 1, sizeof *found);
    if (!found)
        fail("memory");
    for (uint64_t i = 0; i < many; i++)
        found[i] = (char *)(uintptr_t)text();
    if (count)
        *count = (size_t)many;
    return found;
}

/* Telling */

static const char *digits(uint64_t value)
{
    static char written[21];
    char *at = written + sizeof written - 1;

    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    return at;
}

static int send_parts(const char **parts, size_t count)
{
    struct iovec vector[12];
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = count};
    ssize_t sent;

    for (size_t i = 0; i < count; i++)
        vector[i] = (struct iovec){.iov_base = (void *)(uintptr_t)parts[i], .iov_len = strlen(parts[i])};
    do
        sent = sendmsg(channel, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

/* Whoever did not hear it would wait for it: our end is heard in any case. */
void tell(const char *record)
{
    if (send_parts(&record, 1) < 0)
        _exit(1);
}

static _Noreturn void end_with(const char *call, const char *why, int error)
{
    char code[21], status[21], style[21];
    const char *parts[] = {"{\"error\":\"", about.text, why, "\",\"call\":\"", call, "\",\"errno\":", code,
                           ",\"status\":", status, ",\"style\":", style, "}"};

    if (is_optional)
        longjmp(after_step, 1);
    strcpy(code, digits((uint64_t)error));
    strcpy(status, digits(about.status));
    strcpy(style, digits(about.style));
    send_parts(parts, COUNT(parts));
    _exit(1);
}

void fail(const char *call)
{
    end_with(call, "", errno);
}

void fail_because(const char *why)
{
    end_with("", why, 0);
}

void refuse(const char *why)
{
    about.status = 3; /* gRPC: INVALID_ARGUMENT */
    fail_because(why);
}

void need(long result, const char *call)
{
    if (result < 0)
        fail(call);
}

/* Waits for a record that has `key` in it. Whoever makes the container may end before it is there: so do we. */
static void expect(const char *key)
{
    char record[256];
    ssize_t size;

    do
        size = recv(channel, record, sizeof record - 1, 0);
    while (size < 0 && errno == EINTR);
    if (size <= 0)
        _exit(1);
    record[size] = 0;
    if (!strstr(record, key))
        fail_because("an unexpected record came");
}

/* Receives a message of at most `*size` bytes and the descriptors that came with it, at most DESCRIPTORS_MAX; their
 * number, 0 for a message that is none of ours. `*size` is 0 when the other end is gone. */
static size_t receive_descriptors(int line, void *data, size_t *size, int *fds)
{
    union {
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = data, .iov_len = *size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header;
    ssize_t got;
    size_t count;

    do
        got = recvmsg(line, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    *size = got > 0 ? (size_t)got : 0;
    header = CMSG_FIRSTHDR(&message);
    if (got <= 0 || !header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        return 0;
    count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(header), count * sizeof(int));
    return count;
}

/* Steps */

static void step_about(void)
{
    about.text = text();
    about.status = number();
    about.style = number();
}

/* The next step may fail. Such a step has to read all its fields before it does anything. */
static void step_optional(void)
{
    is_optional = 2; /* counts down: this step, and the next one */
}

static void close_from(unsigned first, unsigned last)
{
    if (first > last || syscall(CALL_CLOSE_RANGE, first, last, 0) == 0)
        return;
    for (unsigned fd = first; fd <= last && fd < 65536; fd++)
        close((int)fd);
}

/* Closes all but the descriptors named, in rising order: what the creator had open is no way out of the container
 * (CVE-2024-21626). */
static void step_keep(void)
{
    unsigned next = 0;

    for (uint64_t count = number(); count; count--) {
        unsigned fd = (unsigned)small_number();
        if (fd < next)
            malformed();
        if (fd > next)
            close_from(next, fd - 1);
        next = fd + 1;
    }
    close_from(next, INT_MAX);
}

static void step_setns(void)
{
    int fd = small_number();

    need(setns(fd, (int)number()), "setns");
    close(fd);
}

static void step_unshare(void)
{
    need(unshare((int)number()), "unshare");
}

/* Forks a child born in a version 2 control group; -1 when the kernel does not do that. clone3 of nothing is invalid
 * where it exists. That is asked first: a failed first fork ends a new pid namespace. */
static pid_t fork_into(uint64_t group)
{
    uint64_t arguments[11] = {[0] = INTO_CGROUP, [4] = SIGCHLD, [10] = group};

    if (syscall(CALL_CLONE3, NULL, 0) != -1 || errno != EINVAL) {
        errno = ENOSYS;
        return -1;
    }
    return (pid_t)syscall(CALL_CLONE3, arguments, sizeof arguments);
}

/* Forks, so that pid namespaces take effect; the parent tells the child's number as the creator sees it, and ends. */
static void step_fork(void)
{
    uint64_t group = number();
    int refused = 0;
    pid_t child = -1;

    is_inside = group == NO_DESCRIPTOR;
    if (!is_inside) {
        child = fork_into(group);
        is_inside = child >= 0;
        refused = errno;
        if (child < 0 && (refused == EAGAIN || refused == ENOMEM))
            fail("clone3");
    }
    if (child < 0)
        child = fork();
    if (child < 0) {
        errno = refused ? refused : errno;
        fail("fork");
    }
    if (child > 0) {
        char pid[21];
        const char *parts[] = {"{\"pid\":", pid, is_inside ? ",\"inside\":true}" : ",\"inside\":false}"};

        strcpy(pid, digits((uint64_t)child));
        if (send_parts(parts, COUNT(parts)) < 0)
            kill(child, SIGKILL); /* nobody knows of it, and it would wait to be known */
        _exit(0);
    }
    need(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl");
    need(setsid(), "setsid");
    umask(0);
}

/* Lets go of the caller's keys. A kernel without keys has none to keep; one that forbids the call forbids it to our
 * children, too. */
static void step_keyring(void)
{
    long done = syscall(SYS_keyctl, JOIN_SESSION_KEYRING, NULL);

    if (done < 0 && errno != ENOSYS && errno != EPERM)
        fail("keyctl");
}

static void step_name(void)
{
    need(prctl(PR_SET_NAME, text(), 0, 0, 0), "prctl");
}

static int start_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), done;

    if (control < 0)
        return -1;
    done = ioctl(control, SIOCGIFFLAGS, &request);
    request.ifr_flags |= IFF_UP;
    if (done == 0)
        done = ioctl(control, SIOCSIFFLAGS, &request);
    close(control);
    return done;
}

static void step_loopback(void)
{
    need(start_loopback(), "loopback");
}

static void step_hostname(void)
{
    const char *name = text();

    need(sethostname(name, strlen(name)), "sethostname");
}

static void step_domainname(void)
{
    const char *name = text();

    need(setdomainname(name, strlen(name)), "setdomainname");
}

/* Enters version 1 control groups: a process with one thread that moves itself does not wait for others. */
static void step_enter(void)
{
    for (uint64_t count = number(); count; count--) {
        int fd = small_number();
        need(write(fd, "0", 1), "");
        close(fd);
    }
}

/* The same with descriptors that come by now: the creator makes the groups while the steps before this are taken. */
static void step_groups(void)
{
    uint64_t count = number();
    int fds[DESCRIPTORS_MAX];
    char record[64];
    size_t size = sizeof record, came = receive_descriptors(channel, record, &size, fds);

    if (!size)
        _exit(1);
    if (came != count)
        fail_because("an unexpected record came");
    for (size_t i = 0; i < came; i++) {
        need(write(fds[i], "0", 1), "");
        close(fds[i]);
    }
}

/* Lets the creator do what it does to a process in its namespaces: `is_needed` for what the configuration asks for,
 * and it has to move one that was not born in its version 2 group. */
static void step_wait(void)
{
    uint64_t is_needed = number();

    if (!is_needed && is_inside)
        return;
    tell("{\"waiting\":true}");
    expect("\"joined\"");
}

static void step_tell(void)
{
    tell(text());
}

static void step_expect(void)
{
    expect(text());
}

/* Writes to a file of the host's procfs, and to nothing else: no link is followed, nothing that is mounted over it is
 * entered (CVE-2025-52881). */
static void step_setting(void)
{
    const char *path = text(), *value = text();
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd;
    struct stat found;
    struct statfs system;

    need(proc, "");
    need(fstat(proc, &found), "");
    need(fstatfs(proc, &system), "");
    errno = EPERM;
    if (system.f_type != PROC_MAGIC || found.st_ino != PROC_ROOT_INODE)
        fail("");
    fd = open_in(proc, path, O_WRONLY, 0, RESOLVE_BENEATH_ONLY);
    if (fd < 0 && (errno == EXDEV || errno == ELOOP))
        errno = EPERM;
    need(fd, "");
    need(fstatfs(fd, &system), "");
    errno = EPERM;
    if (system.f_type != PROC_MAGIC)
        fail("");
    need(write(fd, value, strlen(value)), "");
    close(fd);
    close(proc);
}

/* From here on nothing stays open in the program but its standard streams and what the caller wants to have kept. */
static void step_close_on_exec(void)
{
    unsigned first = (unsigned)small_number();

    if (syscall(CALL_CLOSE_RANGE, first, INT_MAX, CLOSE_RANGE_KEEP) == 0)
        return;
    for (int fd = (int)first; fd < 65536; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Waits for the one that starts the container; errors from now on are told to it. Whoever only asks for the
 * container's state connects as well, and says nothing. */
static void step_start(void)
{
    int listener = small_number();
    char word[16];

    /* Closing the creator's line lets it see our end as the end of the connection below. */
    close(channel);
    for (;;) {
        channel = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (channel < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (channel < 0)
            _exit(1);
        if (recv(channel, word, sizeof word, 0) > 0)
            return;
        close(channel);
    }
}

/* The position is the step's number in a description: pinnace/runc/native.py has the same list. */
static void (*const steps[])(void) = {
    NULL, step_about, step_optional, step_keep, step_setns, step_unshare, step_fork, step_keyring, step_name,
    step_loopback, step_hostname, step_domainname, step_allowed, step_root, step_mount, step_bind, step_propagate,
    step_attributes, step_remount, step_directory, step_device, step_link, step_readonly, step_mask,
    step_remount_root, step_pivot, step_enter, step_tell, step_expect, step_setting, step_close_on_exec, step_stdio,
    step_limit, step_environment, step_filter, step_bounding, step_change_directory,
    step_identity, step_capabilities,
    step_no_new_privileges, step_program, step_start, step_execute, step_groups, step_wait,
};

/* Default actions and nothing blocked: both are inherited through exec, and our creator may ignore some. By the system
 * call, as signal(2) leaves out those that C libraries use for themselves; posix_spawn(3) has them ignored. */
static void reset_signals(void)
{
    static const unsigned char usual[64]; /* struct sigaction of the kernel: SIG_DFL is 0 */
    sigset_t none;

    for (int each = 1; each < _NSIG; each++)
        syscall(SYS_rt_sigaction, each, usual, NULL, _NSIG / 8);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void open_description(int fd)
{
    struct stat found;
    const void *mapped;

    need(fstat(fd, &found), "description");
    if (found.st_size < 16 || found.st_size > INT32_MAX || found.st_size % 8)
        malformed();
    mapped = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED)
        fail("description");
    rest.at = mapped;
    rest.end = rest.at + found.st_size;
    close(fd);
    if (number() != MAGIC)
        malformed();
}

static int descriptor_of(const char *word)
{
    int value = 0;

    for (; *word >= '0' && *word <= '9' && value < 1000000; word++)
        value = value * 10 + (*word - '0');
    return *word ? -1 : value;
}

/* What a process inherits when it is started, as its creator has it by now: resource limits and the OOM score. */
static void take_after_creator(void)
{
    char path[sizeof "/proc//oom_score_adj" + 20] = "/proc/", its[16] = "", own[16] = "";
    pid_t creator = getppid();
    struct rlimit limit;
    int file;

    for (int each = 0; each < LIMITS_MAX; each++)
        if (prlimit(creator, each, NULL, &limit) == 0)
            need(setrlimit(each, &limit), "setrlimit");
    strcat(strcat(path, digits((uint64_t)creator)), "/oom_score_adj");
    file = open(path, O_RDONLY | O_CLOEXEC);
    need(file, "oom_score_adj");
    need(read(file, its, sizeof its - 1), "oom_score_adj");
    close(file);
    file = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    need(file, "oom_score_adj");
    need(read(file, own, sizeof own - 1), "oom_score_adj");
    if (strcmp(its, own))
        need(write(file, its, strlen(its)), "oom_score_adj");
    close(file);
}

/* Puts descriptors under their numbers. */
static void place(int *fds, const int *targets, size_t count)
{
    int above = 3;

    for (size_t i = 0; i < count; i++)
        if (targets[i] >= above)
            above = targets[i] + 1;
    /* Out of the way first: one may lie where another one belongs. */
    for (size_t i = 0; i < count; i++)
        if ((fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, above)) < 0)
            _exit(1);
    for (size_t i = 0; i < count; i++)
        if (dup2(fds[i], targets[i]) < 0)
            _exit(1);
}

/* Waits for a container. What nearly every one has of its own and takes longest, a network namespace, is made
 * meanwhile; whoever asks is told whether it could be. The message is numbers: of the channel, of the description, and
 * of each descriptor that comes with it. When the other end is gone nobody wants a container. */
static int wait_for_creation(int line)
{
    int numbers[2 + DESCRIPTORS_MAX], fds[DESCRIPTORS_MAX];
    size_t size = sizeof numbers, count;

    channel = line;
    tell(unshare(CLONE_NEWNET) == 0 && start_loopback() == 0 ? "{\"network\":true}" : "{\"network\":false}");
    count = receive_descriptors(line, numbers, &size, fds);
    if (!size)
        _exit(0);
    if (!count || size != (2 + count) * sizeof(int))
        _exit(1);
    place(fds, numbers + 2, count);
    channel = numbers[0];
    take_after_creator();
    return numbers[1];
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3 || (channel = descriptor_of(argv[1])) < 0)
        return 125;
    /* What is in a namespace with us may not look into this process, nor at the file that it runs. */
    need(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl");
    reset_signals();
    open_description(argc == 3 ? descriptor_of(argv[2]) : wait_for_creation(channel));
    /* Until it executes the program, or fails. */
    for (;;) {
        uint64_t step = number();

        if (step == 0 || step >= COUNT(steps))
            malformed();
        if (setjmp(after_step) == 0)
            steps[step]();
        if (is_optional)
            is_optional--;
    }
}
