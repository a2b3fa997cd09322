/*
 * pause: the first process of a pod sandbox.
 *
 * It holds the sandbox's namespaces open and does nothing else: it reaps the children that lost
 * their parent (a pid namespace that several containers share gives them to us) and exits on SIGINT
 * and SIGTERM. "pause -v" prints its version.
 *
 * Started as anything but process 1 it warns: orphans would not come to it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VERSION
#error "the build passes -DVERSION"
#endif

static void say(int fd, const char *text)
{
	ssize_t ignored = write(fd, text, strlen(text));
	(void)ignored;
}

static void leave(int signal)
{
	(void)signal;
	_exit(0);
}

static void reap(int signal)
{
	int saved = errno;

	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = saved;
}

static int on(int signal, void (*handler)(int), int flags)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	action.sa_flags = flags;
	return sigaction(signal, &action, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "-v") == 0) {
		say(STDOUT_FILENO, "pause " VERSION "\n");
		return 0;
	}
	if (getpid() != 1)
		say(STDERR_FILENO, "pause: warning: not process 1, orphans are not reaped here\n");
	if (on(SIGINT, leave, 0) || on(SIGTERM, leave, 0) || on(SIGCHLD, reap, SA_NOCLDSTOP)) {
		say(STDERR_FILENO, "pause: cannot set a signal handler\n");
		return 1;
	}
	for (;;)
		pause();
}
