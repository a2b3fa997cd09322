/* Making the container's root: mounts, devices, masked and read-only paths, the pivot.
 *
 * Everything here happens before the pivot, with the host's /proc: /proc/self/fd/N of a descriptor that was resolved
 * inside the root is the one way to hand mount(2) a place that can't be swapped for a link meanwhile. The Python
 * twins are pinnace/runc/{paths,rootfs,devices}.py and pinnace/linux/resolve.py, with the same steps in the same order.
 */

#include "init.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#define CALL_OPENAT2 437
#define CALL_MOUNT_SETATTR 442
#define AT_RECURSIVE_TREE 0x8000
#define MOST_LINKS 40  /* the kernel's MAXSYMLINKS */
#define MOST_DEEP 4096 /* parts of a path that are made, links followed on the way included */
#define MOST_TRIES 128 /* openat2(2) says to try again when something moved meanwhile */
#define DIRECTORY (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define STATX_MOUNT 0x1000 /* STATX_MNT_ID */
#define LOCKED (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC) /* the same bits as mount(2)'s flags */

static int root = -1;
static const char *root_path;

/* Files below /proc that something may be mounted on. */
static char **allowed;

struct open_how {
    uint64_t flags, mode, resolve;
};

struct attributes {
    uint64_t set, clear, propagation, user_namespace;
};

/* "/proc/self/fd/N" */
struct place {
    char path[32];
};

static struct place place_of(int fd)
{
    struct place place;

    snprintf(place.path, sizeof place.path, "/proc/self/fd/%d", fd);
    return place;
}

/* Resolving: these return a descriptor, or -1 with errno. */

int open_in(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    int fd = -1;

    for (int tries = 0; tries < MOST_TRIES; tries++) {
        fd = (int)syscall(CALL_OPENAT2, directory, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd;
}

int open_in_root(const char *path, uint64_t flags)
{
    while (*path == '/')
        path++;
    return open_in(root, *path ? path : ".", flags, 0, RESOLVE_ROOTED);
}


/* Where the link `name` in the directory `above`, called `parent`, leads, as a path in the root; NULL when it is no
 * link. The caller frees it. */
static char *target_of(int above, const char *parent, const char *name)
{
    char target[PATH_MAX], *joined;
    ssize_t size = readlinkat(above, name, target, sizeof target - 1);
    size_t room;

    if (size < 0)
        return NULL;
    target[size] = 0;
    room = strlen(parent) + (size_t)size + 2;
    joined = malloc(room);
    need(joined ? 0 : -1, "memory");
    if (*target == '/')
        strcpy(joined, target);
    else
        snprintf(joined, room, "%s/%s", parent, target);
    return joined;
}

/* Cuts the last part off `path`, in place, and gives it; NULL with errno for what can't be made. */
static const char *last_of(char *path)
{
    size_t size = strlen(path);
    char *slash;

    while (size && path[size - 1] == '/')
        path[--size] = 0;
    slash = strrchr(path, '/');
    errno = EINVAL;
    if (!slash || !slash[1] || strcmp(slash + 1, ".") == 0 || strcmp(slash + 1, "..") == 0)
        return NULL;
    *slash = 0;
    return slash + 1;
}

static int make_directory(const char *path, int links);

/* Makes the directory `path` in its parent, which is made when it is missing, too. */
static int make_in_parent(const char *path, int links)
{
    char *parent = strdup(path), *target = NULL;
    const char *name;
    int above = -1, fd = -1;

    need(parent ? 0 : -1, "memory");
    name = last_of(parent);
    if (name)
        above = make_directory(parent, links);
    if (above >= 0) {
        if (mkdirat(above, name, 0755) == 0)
            fd = open_in_root(path, DIRECTORY);
        else if (errno == EEXIST && (target = target_of(above, parent, name)))
            fd = make_directory(target, links + 1); /* of a link to nothing yet (/var/run -> /run): make that */
        else if (errno == EEXIST || errno == EINVAL)
            fd = open_in_root(path, DIRECTORY); /* somebody was faster */
        close(above);
    }
    free(target);
    free(parent);
    return fd;
}

static int make_directory(const char *path, int links)
{
    static int depth;
    int fd = open_in_root(path, DIRECTORY);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (links > MOST_LINKS || depth >= MOST_DEEP) {
        errno = ELOOP;
        return -1;
    }
    depth++;
    fd = make_in_parent(path, links);
    depth--;
    return fd;
}

/* The file `path` as a place to mount on, made empty if it is missing. A link to nothing is followed as often as
 * `links` says, and the file made there (/etc/resolv.conf of an image, into /run). */
static int make_file(const char *path, int links)
{
    int fd = open_in_root(path, O_PATH), above, made;
    char *parent, *target = NULL;
    const char *name;

    if (fd >= 0 || errno != ENOENT)
        return fd;
    parent = strdup(path);
    need(parent ? 0 : -1, "memory");
    name = last_of(parent);
    above = name ? make_directory(parent, 0) : -1;
    if (above < 0) {
        free(parent);
        return -1;
    }
    made = openat(above, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0755);
    if (made >= 0) {
        close(made);
        fd = open_in_root(path, O_PATH);
    } else if (errno == EEXIST && (target = target_of(above, parent, name))) {
        errno = ENOENT;
        fd = links ? make_file(target, links - 1) : -1;
    }
    close(above);
    free(target);
    free(parent);
    return fd;
}

/* The directory that holds `path`, made if it is missing, and its name there, which the caller frees. */
static int parent_of(const char *path, char **name)
{
    char *copy = strdup(path);
    const char *last;
    int fd;

    need(copy ? 0 : -1, "memory");
    last = last_of(copy);
    fd = last ? make_directory(copy, 0) : -1;
    need(fd, "");
    *name = strdup(last);
    need(*name ? 0 : -1, "memory");
    free(copy);
    return fd;
}

/* Checks */

static dev_t device_of(int fd)
{
    struct stat found;

    need(fstat(fd, &found), "");
    return S_ISCHR(found.st_mode) ? found.st_rdev : 0;
}

int is_null(int fd)
{
    return device_of(fd) == makedev(1, 3);
}

/* The mount that a descriptor is on, as the kernel numbers them: by statx(2), before Linux 5.8 from procfs; from there
 * as well where QEMU translates the call, as it hands on the mask and not the number. No mount has number 0. */
static uint64_t mount_of(int fd)
{
    struct {
        uint32_t mask;
        unsigned char others[140]; /* up to stx_mnt_id: include/uapi/linux/stat.h */
        uint64_t mount;
        unsigned char rest[104];
    } facts = {0};
    char path[40], found[512];
    const char *line;
    ssize_t size;
    int file;

    _Static_assert(offsetof(__typeof__(facts), mount) == 0x90 && sizeof facts == 0x100, "struct statx");
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_MOUNT, &facts) == 0 && facts.mask & STATX_MOUNT && facts.mount)
        return facts.mount;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    file = open(path, O_RDONLY | O_CLOEXEC);
    need(file, "");
    size = read(file, found, sizeof found - 1);
    need(size, "");
    close(file);
    found[size] = 0;
    line = strstr(found, "mnt_id:");
    if (!line)
        fail_because("the kernel does not tell of mounts");
    return strtoull(line + sizeof "mnt_id:" - 1, NULL, 10);
}

/* `path` looked up again, once the file behind `source` was mounted on `place`. Options, read-only above all, are for
 * that very mount: who can change the tree meanwhile could put another in its place and keep a volume writable. */
static int mounted(const char *path, int place, int source)
{
    struct stat found, wanted;
    int fd = open_in_root(path, O_PATH);

    need(fd, "openat2");
    need(fstat(fd, &found), "");
    need(fstat(source, &wanted), "");
    if (mount_of(fd) == mount_of(place) || found.st_dev != wanted.st_dev || found.st_ino != wanted.st_ino)
        fail_because("it was changed while it was mounted");
    return fd;
}

/* Where a descriptor really is; false when that does not fit. */
static int read_place(int fd, char real[PATH_MAX])
{
    ssize_t size = readlink(place_of(fd).path, real, PATH_MAX - 1);

    need(size, "");
    real[size] = 0;
    return size < PATH_MAX - 1;
}

/* Nothing may cover parts of /proc: security modules are configured through it. An image's link may lead into the
 * container's /proc (CVE-2019-16884, CVE-2025-52881). */
static void check_below_proc(int place)
{
    char real[PATH_MAX];
    size_t size = strlen(root_path);
    const char *inside;

    if (!read_place(place, real))
        fail_because("the path is too long");
    if (strncmp(real, root_path, size) || strncmp(real + size, "/proc/", 6))
        return;
    inside = real + size;
    for (char **each = allowed; each && *each; each++)
        if (strcmp(*each, inside) == 0)
            return;
    refuse("it cannot be mounted because it is inside /proc");
}

/* /proc and /sys go on plain directories: a link there would fake them (CVE-2019-19921). */
static void check_ordinary(int place, const char *target)
{
    char real[PATH_MAX];
    size_t size = strlen(root_path);

    if (!read_place(place, real) || strncmp(real, root_path, size) || strcmp(real + size, target))
        fail_because("it must be mounted on ordinary directory");
}

/* Mounting */

static void remount(int place, unsigned long flags)
{
    struct place target = place_of(place);
    struct statvfs found;

    flags |= MS_BIND | MS_REMOUNT;
    if (mount("", target.path, "", flags, NULL) == 0)
        return;
    if (errno != EPERM)
        fail("mount");
    /* Some flags are locked for who is in a user namespace; they stay. */
    need(fstatvfs(place, &found), "");
    need(mount("", target.path, "", flags | (found.f_flag & LOCKED), NULL), "mount");
}

static void set_attributes(int place, uint64_t set, uint64_t clear)
{
    struct attributes attributes = {.set = set, .clear = clear};

    if (set || clear)
        need(syscall(CALL_MOUNT_SETATTR, AT_FDCWD, place_of(place).path, AT_RECURSIVE_TREE, &attributes,
                     sizeof attributes),
             "mount_setattr");
}

void step_allowed(void)
{
    allowed = texts(NULL);
}

/* pivot_root(2) refuses when the new root, or the mount that holds it, is shared. The root may be a mount of its own
 * already, as a snapshot is: what is bound from it is shared as it is. */
static void make_parent_private(const char *path)
{
    char *place = strdup(path);
    size_t size = strlen(path);

    need(place ? 0 : -1, "memory");
    while (mount("", place, "", MS_PRIVATE, NULL) < 0) {
        if (errno != EINVAL || size <= 1)
            fail("mount");
        while (size && place[size - 1] != '/')
            size--;
        if (size > 1)
            size--; /* the slash itself, but for that of the root */
        place[size] = 0;
    }
    free(place);
}

/* Cuts the mount namespace off from the host's and makes the root a mount point. */
void step_root(void)
{
    uint64_t propagation;

    root_path = text();
    propagation = number();
    if (*root_path != '/' || !root_path[1])
        fail_because("the root is no directory of its own");
    need(mount("", "/", "", propagation | MS_REC, NULL), "mount");
    make_parent_private(root_path);
    need(mount(root_path, root_path, "", MS_BIND | MS_REC, NULL), "mount");
    root = open(root_path, DIRECTORY);
    need(root, "");
}

void step_mount(void)
{
    const char *source = text(), *target = text(), *type = text(), *data = text();
    uint64_t flags = number(), ordinary = number(), keeps_mode = number();
    struct stat covered = {0};
    char options[4096];
    int place;

    if (keeps_mode && (place = open_in_root(target, O_PATH)) >= 0) {
        need(fstat(place, &covered), "");
        close(place);
    } else {
        keeps_mode = 0;
    }
    place = make_directory(target, 0);
    need(place, "openat2");
    check_below_proc(place);
    if (ordinary)
        check_ordinary(place, target);
    if (keeps_mode) {
        if ((size_t)snprintf(options, sizeof options, "%s%smode=%o", data, *data ? "," : "",
                             covered.st_mode & 07777) >= sizeof options)
            fail_because("too many options");
        data = options;
    }
    need(mount(source, place_of(place).path, type, flags, *data ? data : NULL), "mount");
    close(place);
}

void step_bind(void)
{
    const char *source = text(), *target = text();
    uint64_t how = number(), remounts = number(), flags = number();
    uint64_t propagation = number(), set = number(), clear = number();
    struct stat found;
    int origin, place, covered;

    /* A missing source is named as such, and no target is made for it. */
    origin = open(source, O_PATH | O_CLOEXEC);
    need(origin, "");
    need(fstat(origin, &found), "");
    place = S_ISDIR(found.st_mode) ? make_directory(target, 0) : make_file(target, MOST_LINKS);
    need(place, "openat2");
    check_below_proc(place);
    need(mount(place_of(origin).path, place_of(place).path, "", (how & MS_REC) | MS_BIND, NULL), "mount");
    covered = mounted(target, place, origin);
    if (remounts)
        remount(covered, flags);
    if (propagation)
        need(mount("", place_of(covered).path, "", propagation, NULL), "mount");
    set_attributes(covered, set, clear);
    close(covered);
    close(place);
    close(origin);
}

static int existing(const char *path)
{
    int fd = open_in_root(path, O_PATH);

    need(fd, "openat2");
    return fd;
}

void step_propagate(void)
{
    int place = existing(text());

    need(mount("", place_of(place).path, "", number(), NULL), "mount");
    close(place);
}

void step_attributes(void)
{
    int place = existing(text());
    uint64_t set = number();

    set_attributes(place, set, number());
    close(place);
}

void step_remount(void)
{
    int place = existing(text());

    remount(place, number());
    close(place);
}

void step_directory(void)
{
    const char *path = text();
    int fd = make_directory(path, 0);

    need(fd, "openat2");
    close(fd);
}

/* Where device files can't be made, the host's is shown. */
static void bind_device(const char *path)
{
    int place = make_file(path, 0);

    need(place, "openat2");
    need(mount(path, place_of(place).path, "", MS_BIND, NULL), "mount");
    close(place);
}

void step_device(void)
{
    const char *path = text();
    mode_t mode = (mode_t)number();
    unsigned major_number = (unsigned)number(), minor_number = (unsigned)number();
    uid_t uid = (uid_t)number();
    gid_t gid = (gid_t)number();
    char *name;
    int above = parent_of(path, &name);

    if (mknodat(above, name, mode, makedev(major_number, minor_number)) == 0) {
        if (fchownat(above, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
            fail("");
    } else if (errno == EPERM || errno == EACCES) {
        bind_device(path);
    } else if (errno != EEXIST) { /* what the image or a mount has there already stays */
        fail("");
    }
    free(name);
    close(above);
}

void step_link(void)
{
    const char *target = text(), *path = text();
    uint64_t replaces = number();
    char *name;
    int above = parent_of(path, &name);

    if (replaces && unlinkat(above, name, 0) < 0 && errno != ENOENT)
        fail("");
    if (symlinkat(target, above, name) < 0 && (replaces || errno != EEXIST))
        fail("");
    free(name);
    close(above);
}

/* The file or directory `path`, or -1 when it is not there. */
static int existing_or_none(const char *path)
{
    int fd = open_in_root(path, O_PATH);

    if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
        fail("openat2");
    return fd;
}

void step_readonly(void)
{
    const char *path = text();
    int place = existing_or_none(path), covered;
    struct statvfs found;
    struct place target;

    if (place < 0)
        return;
    target = place_of(place);
    need(mount(target.path, target.path, "", MS_BIND | MS_REC, NULL), "mount");
    covered = mounted(path, place, place);
    need(fstatvfs(covered, &found), "");
    remount(covered, MS_RDONLY | (found.f_flag & (LOCKED & ~ST_RDONLY)));
    close(covered);
    close(place);
}

/* A null device, proven to be one, as the image's could be anything (CVE-2025-31133). The host's must only be shown
 * read-only: root inside could change its mode, through the mask, for everybody. */
static int null_device(int *is_own)
{
    int null = open_in_root("/dev/null", O_PATH | O_NOFOLLOW);

    *is_own = null >= 0 && is_null(null);
    if (*is_own)
        return null;
    null = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    need(null, "");
    if (!is_null(null))
        fail_because("/dev/null is not the null device");
    return null;
}

/* Hides files behind the null device and directories behind a file system that holds nothing. */
void step_mask(void)
{
    static int null = -1, is_own;
    const char *path = text();
    int place = existing_or_none(path), covered;
    struct stat found;

    if (place < 0)
        return;
    need(fstat(place, &found), "");
    if (S_ISDIR(found.st_mode)) {
        need(mount("tmpfs", place_of(place).path, "tmpfs", MS_RDONLY, "nr_inodes=1,size=4k"), "mount");
    } else {
        if (null < 0)
            null = null_device(&is_own);
        need(mount(place_of(null).path, place_of(place).path, "", MS_BIND, NULL), "mount");
        if (!is_own) {
            covered = mounted(path, place, null);
            remount(covered, MS_RDONLY);
            close(covered);
        }
    }
    close(place);
}

/* Flags for the root itself; it is looked up again, as it was mounted on since. */
void step_remount_root(void)
{
    unsigned long flags = number();
    struct statvfs found;

    close(root);
    root = open(root_path, DIRECTORY);
    need(root, "");
    need(fstatvfs(root, &found), "");
    remount(root, flags | (found.f_flag & LOCKED));
}

/* Makes the root that of this mount namespace and lets go of the old one. pivot_root(".", ".") stacks the old root on
 * the new one (pivot_root(2), NOTES); it is made a slave first, so that taking it off is not seen by the host. */
void step_pivot(void)
{
    int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int new = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    need(old, "");
    need(new, "");
    need(fchdir(new), "");
    need(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    need(fchdir(old), "");
    need(mount("", ".", "", MS_SLAVE | MS_REC, NULL), "mount");
    need(umount2(".", MNT_DETACH), "umount2");
    need(chdir("/"), "");
    close(old);
    close(new);
    close(root);
    root = -1;
}
