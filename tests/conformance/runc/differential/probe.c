/* What a process inside a container sees, as text: sections "== name" with lines below.
 *
 * A static program without a shell, so that it runs in an otherwise empty root. Each argument asks for
 * one thing more: read:PATH list:PATH stat:PATH write:PATH mknod:PATH memory:BYTES socket:FAMILY, and
 * exit:N is the status; with the word "pause" alone it only waits. A refused call shows the kernel's reason. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static const char *const STATUS = " Umask Uid Gid Groups NSpid NSsid CapInh CapPrm CapEff CapBnd CapAmb "
    "NoNewPrivs Seccomp Cpus_allowed_list Mems_allowed_list SigBlk SigIgn ";

static void refused(void)
{
    printf("refused: %s\n", strerror(errno));
}

/* The lines of a file, or of /proc/self/status those whose key is in ONLY. */
static void copy(const char *path, const char *only)
{
    char line[4096], key[64];
    FILE *file = fopen(path, "re");
    if (!file)
        return refused();
    while (fgets(line, sizeof line, file)) {
        snprintf(key, sizeof key, " %.*s ", (int)strcspn(line, ":"), line);
        if (!only || strstr(only, key))
            fputs(line, stdout);
    }
    if (ferror(file))
        refused();
    fclose(file);
}

static void show(const char *directory, const char *name)
{
    char path[PATH_MAX], target[PATH_MAX];
    struct stat found;
    snprintf(path, sizeof path, "%s%s%s", directory, *name ? "/" : "", name);
    if (lstat(path, &found))
        return refused();
    printf("%s %o %u:%u", *name ? name : ".", found.st_mode, found.st_uid, found.st_gid);
    if (S_ISCHR(found.st_mode) || S_ISBLK(found.st_mode))
        printf(" %u,%u", major(found.st_rdev), minor(found.st_rdev));
    if (S_ISREG(found.st_mode))
        printf(" %lld", (long long)found.st_size);
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size >= 0)
        printf(" -> %.*s", (int)size, target);
    puts("");
}

static void list(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        return refused();
    for (int i = 0; i < count; i++)
        if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, ".."))
            show(path, entries[i]->d_name);
}

static void write_to(const char *path)
{
    struct stat found;
    char name[PATH_MAX];
    const char *file = path;
    if (!stat(path, &found) && S_ISDIR(found.st_mode)) {
        snprintf(name, sizeof name, "%s/written", path);
        file = name;
    }
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return refused();
    close(fd);
    puts("written");
}

static void make_device(const char *path)
{
    if (mknod(path, S_IFCHR | 0600, makedev(1, 5)))
        return refused();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refused();
    puts("opened");
    unlink(path);
}

static void fill_memory(size_t bytes)
{
    char *place = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        return refused();
    memset(place, 1, bytes);
    puts("filled");
}

static void more(const char *word)
{
    const char *what = strchr(word, ':');
    what = what ? what + 1 : "";
    if (!strncmp(word, "exit:", 5))
        return;
    printf("== %s\n", word);
    fflush(stdout);
    if (!strncmp(word, "read:", 5))
        copy(what, NULL);
    else if (!strncmp(word, "list:", 5))
        list(what);
    else if (!strncmp(word, "stat:", 5))
        show(what, "");
    else if (!strncmp(word, "write:", 6))
        write_to(what);
    else if (!strncmp(word, "mknod:", 6))
        make_device(what);
    else if (!strncmp(word, "memory:", 7))
        fill_memory(strtoul(what, NULL, 10));
    else if (!strncmp(word, "socket:", 7))
        socket(atoi(what), SOCK_RAW, 0) < 0 ? refused() : (void)puts("made");
}

static void scheduling(void)
{
    struct { unsigned size, policy; unsigned long long flags; int nice; unsigned priority;
             unsigned long long runtime, deadline, period; unsigned low, high; } how = {0};
    syscall(SYS_sched_getattr, 0, &how, sizeof how, 0);
    printf("policy %u nice %d priority %u flags %llx runtime %llu deadline %llu period %llu\n",
           how.policy, how.nice, how.priority, how.flags, how.policy == 6 ? how.runtime : 0,
           how.deadline, how.period);
    printf("ioprio %lx\n", syscall(SYS_ioprio_get, 1, 0));
    printf("personality %lx\n", (unsigned long)personality(0xffffffff));
    int mode = -1;
    unsigned long nodes[16] = {0};
    if (!syscall(SYS_get_mempolicy, &mode, nodes, sizeof nodes * 8, 0, 0))
        printf("memory policy %x nodes %lx\n", mode, nodes[0]);
    copy("/proc/self/oom_score_adj", NULL);
}

static void clocks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    printf("days since boot %lld\n", (long long)now.tv_sec / 86400);
    copy("/proc/self/timens_offsets", NULL);
}

static void terminals(void)
{
    struct winsize size;
    for (int fd = 0; fd < 3; fd++)
        printf("%d %s\n", fd, isatty(fd) ? ttyname(fd) ? ttyname(fd) : "a terminal" : "no terminal");
    if (!ioctl(0, TIOCGWINSZ, &size))
        printf("%u columns %u rows\n", size.ws_col, size.ws_row);
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    puts(fd < 0 ? "none controls" : "one controls");
}

static void names(void)
{
    struct utsname found;
    uname(&found);
    printf("%s %s %s\n", found.nodename, found.domainname, found.machine);
}

static void words(char **list)
{
    for (; *list; list++)
        puts(*list);
}

int main(int count, char **arguments)
{
    int status = 0;
    char path[PATH_MAX];
    if (count > 1 && !strcmp(arguments[1], "pause"))
        return pause();
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    puts("== status");
    copy("/proc/self/status", STATUS);
    puts("== limits");
    copy("/proc/self/limits", NULL);
    puts("== mounts");
    copy("/proc/self/mountinfo", NULL);
    puts("== cgroup");
    copy("/proc/self/cgroup", NULL);
    puts("== environment");
    words(environ);
    puts("== directory");
    puts(getcwd(path, sizeof path) ? path : "none");
    puts("== names");
    names();
    puts("== namespaces");
    list("/proc/self/ns");
    puts("== devices");
    list("/dev");
    puts("== terminals of devpts");
    list("/dev/pts");
    puts("== root");
    show("/", "");
    list("/");
    puts("== descriptors");
    list("/proc/self/fd");
    puts("== scheduling");
    scheduling();
    puts("== clocks");
    clocks();
    puts("== terminal");
    terminals();
    puts("== users");
    copy("/proc/self/uid_map", NULL);
    copy("/proc/self/gid_map", NULL);
    copy("/proc/self/setgroups", NULL);
    puts("== network");
    list("/sys/class/net");
    puts("== end"); /* what was always asked for has been told */
    for (int i = 1; i < count; i++) {
        more(arguments[i]);
        if (!strncmp(arguments[i], "exit:", 5))
            status = atoi(arguments[i] + 5);
    }
    fflush(stdout);
    return status;
}
