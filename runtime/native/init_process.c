/* The last steps before the program: streams, limits, user, capabilities, filter, exec.
 *
 * The order is runc's, in which each step still has the privilege that it needs; pinnace/runc/process.py is the same
 * in Python. All of it is after the pivot: every path is the container's.
 */

#include "init.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define PASSWD_MOST (1 << 20)
#define STREAMS 3

/* What the program will be. */
static char **arguments, **environment;
static const char *program, *program_spelled;

/* A filter that is loaded last, so that it sees as little as possible of what is done here. */
static struct {
    const unsigned char *code;
    size_t size;
    unsigned long flags;
} later;

/* Uses the container's /dev/null where a stream is the host's: root inside could change its mode or owner for all. */
static void replace_null(void)
{
    int null = -1;

    for (int stream = 0; stream < STREAMS; stream++) {
        if (!is_null(stream))
            continue;
        if (null < 0) {
            null = open("/dev/null", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
            need(null, "");
            if (!is_null(null))
                fail_because("not the null device");
            need(fcntl(null, F_SETFL, 0), "");
        }
        need(dup2(null, stream), "");
    }
    if (null >= 0)
        close(null);
}

void step_stdio(void)
{
    int copies[STREAMS];

    /* Through fresh numbers first: a source may itself be one of 0, 1, 2. */
    for (int stream = 0; stream < STREAMS; stream++) {
        copies[stream] = dup(small_number());
        need(copies[stream], "");
    }
    for (int stream = 0; stream < STREAMS; stream++) {
        need(dup2(copies[stream], stream), "");
        close(copies[stream]);
    }
    replace_null();
}

void step_limit(void)
{
    int resource = small_number();
    struct rlimit limit;

    limit.rlim_cur = number();
    limit.rlim_max = number();
    need(setrlimit(resource, &limit), "");
}

/* The text of the container's /etc/passwd; it may be anything, so no more than a part of something endless. */
static char *read_passwd(void)
{
    int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), file = -1;
    char *found = malloc(PASSWD_MOST + 1);
    size_t size = 0;
    ssize_t got;

    need(found ? 0 : -1, "memory");
    if (top >= 0)
        file = open_in(top, "etc/passwd", O_RDONLY | O_NONBLOCK, 0, RESOLVE_ROOTED);
    while (file >= 0 && size < PASSWD_MOST && (got = read(file, found + size, PASSWD_MOST - size)) > 0)
        size += (size_t)got;
    found[size] = 0;
    close(file);
    close(top);
    return found;
}

/* The home directory that /etc/passwd gives `uid`. */
static const char *home_of(const char *uid)
{
    char *rest = read_passwd(), *line;

    while ((line = strsep(&rest, "\n"))) {
        char *fields[6];
        size_t count = 0;

        while (count < COUNT(fields) && line)
            fields[count++] = strsep(&line, ":");
        if (count == COUNT(fields) && strcmp(fields[2], uid) == 0)
            return *fields[5] ? fields[5] : "/";
    }
    return "/";
}

void step_environment(void)
{
    const char *uid;
    size_t count;

    environment = texts(&count);
    uid = text(); /* empty when HOME is told */
    if (*uid) {
        const char *home = home_of(uid);
        size_t size = sizeof "HOME=" + strlen(home);
        char *variable = malloc(size);

        environment = realloc(environment, (count + 2) * sizeof *environment);
        need(variable && environment ? 0 : -1, "memory");
        snprintf(variable, size, "HOME=%s", home);
        environment[count] = variable;
        environment[count + 1] = NULL;
    }
}

static void load_filter(const unsigned char *code, size_t size, unsigned long flags)
{
    struct sock_fprog filter = {
        .len = (unsigned short)(size / sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)(uintptr_t)code,
    };

    need(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter), "seccomp");
}

void step_filter(void)
{
    uint64_t flags = number(), is_last = number();
    size_t size;
    const unsigned char *code = bytes(&size);

    if (!size || size % sizeof(struct sock_filter) || size / sizeof(struct sock_filter) > USHRT_MAX)
        fail_because("malformed filter");
    if (!is_last) {
        load_filter(code, size, flags);
        return;
    }
    later.code = code;
    later.size = size;
    later.flags = flags;
}

void step_bounding(void)
{
    uint64_t keep = number(), held = number();

    for (int each = 0; each < 64; each++)
        if (held >> each & 1 && !(keep >> each & 1))
            need(prctl(PR_CAPBSET_DROP, each, 0, 0, 0), "prctl");
}

/* Lets the user reopen its own /dev/stdout: it must own what is behind it. */
static void own_streams(uid_t uid)
{
    struct stat found;

    for (int stream = 0; stream < STREAMS; stream++) {
        need(fstat(stream, &found), "");
        if (found.st_uid == uid || is_null(stream))
            continue;
        if (fchown(stream, uid, found.st_gid) < 0 && errno != EPERM && errno != EACCES && errno != EINVAL &&
            errno != EROFS)
            fail("");
    }
}

/* Goes to the working directory and makes sure that it is inside (CVE-2024-21626). Where permission is denied at first
 * another user may have it: only the user may go there (NFS, FUSE), or nobody. */
void step_change_directory(void)
{
    static int is_there;
    const char *path = text();
    uint64_t is_last = number();
    char where[PATH_MAX];

    if (is_there)
        return;
    if (chdir(path) < 0) {
        if (!is_last && (errno == EACCES || errno == EPERM))
            return;
        fail("");
    }
    /* The system call itself: a C library may look for the name in its own way when the kernel says it is outside. */
    if (syscall(SYS_getcwd, where, sizeof where) < 0 || *where != '/')
        fail_because("current working directory is outside of container mount namespace root");
    is_there = 1;
}

void step_identity(void)
{
    uid_t uid = (uid_t)number();
    gid_t gid = (gid_t)number();
    mode_t mask = (mode_t)number();
    uint64_t count = number();
    gid_t *groups = count <= NGROUPS_MAX ? calloc((size_t)count + 1, sizeof *groups) : NULL;

    need(groups ? 0 : -1, "memory");
    for (uint64_t i = 0; i < count; i++)
        groups[i] = (gid_t)number();
    need(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl");
    own_streams(uid);
    need(setgroups((size_t)count, groups), "setgroups");
    need(setresgid(gid, gid, gid), "setresgid");
    need(setresuid(uid, uid, uid), "setresuid");
    need(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0), "prctl");
    umask(mask);
    free(groups);
}

void step_capabilities(void)
{
    uint64_t effective = number(), permitted = number(), inheritable = number(), ambient = number();
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];

    for (int half = 0; half < 2; half++) {
        sets[half].effective = (uint32_t)(effective >> (32 * half));
        sets[half].permitted = (uint32_t)(permitted >> (32 * half));
        sets[half].inheritable = (uint32_t)(inheritable >> (32 * half));
    }
    need(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl");
    need(syscall(SYS_capset, &header, sets), "capset");
    /* The ambient set last: it is limited by the other two. */
    for (int each = 0; each < 64; each++)
        if ((ambient & permitted & inheritable) >> each & 1)
            need(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, each, 0, 0), "prctl");
}

void step_no_new_privileges(void)
{
    need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl");
}

/* Chooses the first of the candidates that can be run: the path itself, or for a name without a slash one in each
 * directory of PATH. Beside each is how it is spelled in JSON. */
void step_program(void)
{
    uint64_t is_path;
    int is_refused = 0;
    char **candidates, **spelled;

    arguments = texts(NULL);
    is_path = number();
    candidates = texts(NULL);
    spelled = texts(NULL);
    for (size_t i = 0; candidates[i] && spelled[i]; i++) {
        struct stat found;
        int is_there = stat(candidates[i], &found) == 0;

        program = candidates[i];
        program_spelled = spelled[i];
        if (is_there && !S_ISDIR(found.st_mode) && found.st_mode & 0111)
            return;
        if (is_path && !is_there)
            fail(program_spelled);
        if (is_path)
            fail_because(S_ISDIR(found.st_mode) ? "is a directory" : "permission denied");
        is_refused |= is_there && S_ISREG(found.st_mode);
    }
    fail_because(is_refused ? "permission denied" : "executable file not found in $PATH");
}

/* Becomes the program. */
void step_execute(void)
{
    if (!program || !environment)
        fail_because("nothing to execute");
    if (later.code)
        load_filter(later.code, later.size, later.flags);
    execve(program, arguments, environment);
    fail(program_spelled);
}
