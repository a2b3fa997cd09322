/* What the parts of init share; see init.c. */

#ifndef INIT_H
#define INIT_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Reading the description. A step reads its own fields in their order; what is not there ends the process. */
uint64_t number(void);
int small_number(void);                       /* a descriptor, a flag: at most INT_MAX */
const char *text(void);                       /* ends with a zero byte, has none inside */
const unsigned char *bytes(size_t *size);     /* aligned to 8 */
char **texts(size_t *count);                  /* as execve(2) takes them; count may be NULL */

/* The line to whoever makes or starts the container; see pinnace/runc/channel.py for its records. */
extern int channel;
void tell(const char *record);

/* Tells what went wrong in the step that runs, and ends the process, or the step alone when it is an optional one. */
_Noreturn void fail(const char *call);        /* with the error of the last system call */
_Noreturn void fail_because(const char *why); /* with a reason of our own, in JSON's spelling */
_Noreturn void refuse(const char *why);       /* the same, and the configuration is to blame */
void need(long result, const char *call);     /* fails when the result is -1 */

/* Paths inside the container's root (init_root.c) */
int open_in(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int open_in_root(const char *path, uint64_t flags);
int is_null(int fd);

void step_allowed(void);
void step_root(void);
void step_mount(void);
void step_bind(void);
void step_propagate(void);
void step_attributes(void);
void step_remount(void);
void step_directory(void);
void step_device(void);
void step_link(void);
void step_readonly(void);
void step_mask(void);
void step_remount_root(void);
void step_pivot(void);

/* Who the process is and what it may do (init_process.c) */
void step_stdio(void);
void step_limit(void);
void step_environment(void);
void step_filter(void);
void step_bounding(void);
void step_change_directory(void);
void step_identity(void);
void step_capabilities(void);
void step_no_new_privileges(void);
void step_program(void);
void step_execute(void);

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RESOLVE_BENEATH_ONLY (0x01 | 0x04 | 0x08) /* NO_XDEV, NO_SYMLINKS, BENEATH: include/uapi/linux/openat2.h */
#define RESOLVE_ROOTED (0x10 | 0x02)              /* IN_ROOT, NO_MAGICLINKS */

#endif
