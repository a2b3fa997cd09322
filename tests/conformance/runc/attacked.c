/* The native init's mount(2) under attack: linked in its place (ld --wrap=mount) with what attacker.py gives.
 *
 * TARGET  the end of the path on whose mount the attacker strikes
 * AFTER   1: after that mount, 0: before it
 * GO, DONE  files that tell the attacker to act, and that it has
 * HOST, LANDED  what is mounted on or below HOST is noted in the file LANDED
 */

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int __real_mount(const char *, const char *, const char *, unsigned long, const void *);
int __wrap_mount(const char *, const char *, const char *, unsigned long, const void *);

static int ends_with(const char *path, const char *end)
{
    size_t size = strlen(path), wanted = strlen(end);

    return size >= wanted && strcmp(path + size - wanted, end) == 0;
}

static void touch(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
}

static void strike(void)
{
    touch(GO);
    for (int waited = 0; access(DONE, F_OK) < 0 && waited < 10000; waited++)
        usleep(1000);
}

static void look(void)
{
    char line[8192], target[PATH_MAX];
    FILE *mounts = fopen("/proc/self/mountinfo", "re");

    while (mounts && fgets(line, sizeof line, mounts))
        if (sscanf(line, "%*s %*s %*s %*s %4095s", target) == 1 && strncmp(target, HOST, strlen(HOST)) == 0 &&
            (target[strlen(HOST)] == '/' || !target[strlen(HOST)]))
            touch(LANDED);
    if (mounts)
        fclose(mounts);
}

int __wrap_mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
{
    static int struck;
    char real[PATH_MAX] = "";
    int is_it, result;

    if (strncmp(target, "/proc/self/fd/", 14) == 0 && readlink(target, real, sizeof real - 1) < 0)
        *real = 0;
    is_it = !struck && ends_with(*real ? real : target, TARGET);
    struck |= is_it;
    if (is_it && !AFTER)
        strike();
    result = __real_mount(source, target, type, flags, data);
    if (is_it && AFTER)
        strike();
    look();
    return result;
}
