/*
 * doze: a shim's place holder while nothing happens to its container.
 *
 * The shim executes this in its own process, so that it stays the parent of the container's processes and keeps all
 * descriptors, and an interpreter's memory becomes 100 KB. It answers to a daemon that connects, subscribes and asks for
 * the state, passes on what the container reads and writes as long as there is room, and reaps orphans. For everything
 * else it executes the interpreter again, in the same process. Requests stay unread in their sockets until then.
 *
 *   doze INTERPRETER LISTENER STATE SUBSCRIBED ITEM... -- WORD...
 *
 * INTERPRETER and LISTENER are descriptors, STATE and SUBSCRIBED the answers (JSON) to these two requests. Items:
 *   pN    a process to wake up for when it ends
 *   wN    a descriptor to wake up for
 *   rN:M:R  what comes from pipe N goes to FIFO M, whose reading end R is held: see FifoCopy in keeper/stdio.py
 *   rN:M  what comes from FIFO N goes to pipe M
 *   lN:M  what comes from N goes to the file M, and is lost where that takes no more
 *   cN:B  a connection; B is 1 when it has subscribed
 * The interpreter gets WORDs, and then the connections there are by then, as items.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VERSION
#error "the build passes -DVERSION"
#endif

/* The lowest bound on how much one turn of a relay moves, so that others have theirs. */
#define CHUNK 65536
#define BUFFER 4096
/* Also in keeper/doze.py: with more than that a shim stays awake. */
#define MOST 64
#define MOST_CONNECTIONS 16
#define RETRIES 60
#define PAUSE_MILLISECONDS 500

enum kind { SIGNALS, LISTENER, PROCESS, WATCH, RELAY, LOG, CONNECTION };

struct item {
	enum kind kind;
	int fd; /* of a process: its number */
	int other;
	int reader;
};

static struct item items[MOST + MOST_CONNECTIONS];
static int count;
static int interpreter;
static const char *state_answer, *subscribed_answer;
static char **words;
static int word_count;
static int is_short; /* of descriptors or memory: who connects has to wait */

static void say(const char *text)
{
	ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
	(void)ignored;
}

static void refuse(const char *why)
{
	say("pinnace-shim: doze: ");
	say(why);
	say("\n");
	_exit(125);
}

/* Become the interpreter again. One that can't be executed right now (memory, descriptors) is tried again for a while. */
static void wake(void)
{
	static char texts[MOST_CONNECTIONS][32], path[32];
	char **argv = calloc(word_count + MOST_CONNECTIONS + 1, sizeof(*argv));
	int filled = 0;

	if (!argv)
		refuse("no memory");
	for (int i = 0; i < word_count; i++)
		argv[filled++] = words[i];
	for (int i = 0, text = 0; i < count; i++) {
		if (items[i].kind != CONNECTION)
			continue;
		snprintf(texts[text], sizeof(texts[text]), "c%d:%d", items[i].fd, items[i].other);
		fcntl(items[i].fd, F_SETFD, 0);
		argv[filled++] = texts[text++];
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", interpreter);
	for (int i = 0; i < RETRIES; i++) {
		execv(path, argv);
		sleep(1);
	}
	refuse("cannot execute the interpreter again");
}

static int number(const char **text)
{
	char *end;
	long found = strtol(*text, &end, 10);

	if (end == *text || found < 0 || found > INT32_MAX)
		refuse("not a number");
	*text = end;
	return (int)found;
}

static struct item *add(enum kind kind, int fd, int other)
{
	items[count] = (struct item){ kind, fd, other, -1 };
	return &items[count++];
}

static void parse(const char *text)
{
	static const char letters[] = "pwrlc";
	static const enum kind kinds[] = { PROCESS, WATCH, RELAY, LOG, CONNECTION };
	const char *letter = *text ? strchr(letters, *text) : NULL;
	struct item *item;

	if (!letter || count >= MOST)
		refuse("not an item, or too many");
	text++;
	item = add(kinds[letter - letters], number(&text), -1);
	if (*text++ == ':') {
		item->other = number(&text);
		if (*text++ == ':')
			item->reader = number(&text);
	}
}

/* Take the statuses of orphans; whether a process of the shim's own has ended, whose status stays for the interpreter. */
static int a_process_has_ended(void)
{
	siginfo_t info;

	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
			return 0;
		for (int i = 0; i < count; i++)
			if (items[i].kind == PROCESS && items[i].fd == info.si_pid)
				return 1;
		waitpid(info.si_pid, NULL, WNOHANG);
	}
}

/* Somebody connects: root or the shim's own user is heard. */
static void welcome(int listener)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd, connections = 0;

	for (int i = 0; i < count; i++)
		connections += items[i].kind == CONNECTION;
	if (connections == MOST_CONNECTIONS || count == MOST + MOST_CONNECTIONS)
		wake();
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		is_short = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ||
	    (peer.uid != 0 && peer.uid != geteuid())) {
		close(fd);
		return;
	}
	add(CONNECTION, fd, 0);
}

static void hang_up(struct item *connection)
{
	close(connection->fd);
	*connection = items[--count];
}

/* Send an answer. One who does not even read these is cut off. */
static int answered(int fd, const char *id, int digits, const char *result)
{
	char frame[BUFFER];
	int size = snprintf(frame + 4, sizeof(frame) - 4, "{\"id\":%.*s,\"result\":%s}", digits, id, result);
	uint32_t length = (uint32_t)size;

	if (size < 0 || size >= (int)sizeof(frame) - 4)
		wake();
	for (int i = 0; i < 4; i++)
		frame[i] = (char)(length >> 8 * i);
	return send(fd, frame, size + 4, MSG_DONTWAIT | MSG_NOSIGNAL) == size + 4;
}

static int is(const char *text, size_t length, const char *wanted)
{
	return length == strlen(wanted) && !memcmp(text, wanted, length);
}

/* A request, left in the socket unless it is answered here. Returns 0 when the connection is to be closed. */
static int attended(struct item *connection)
{
	static const char start[] = "{\"id\":";
	unsigned char head[BUFFER];
	const char *text = (char *)head + 4, *result = NULL;
	ssize_t got = recv(connection->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
	size_t length, digits = 0, rest;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0)
		return 0;
	length = got < 4 ? 0 : head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
	if (got < 4 || (size_t)got - 4 < length || length < strlen(start) ||
	    memcmp(text, start, strlen(start)))
		wake();
	text += strlen(start);
	rest = length - strlen(start);
	while (digits < rest && digits < 19 && text[digits] >= '0' && text[digits] <= '9')
		digits++;
	if (is(text + digits, rest - digits, ",\"method\":\"subscribe\"}"))
		result = subscribed_answer;
	else if (is(text + digits, rest - digits, ",\"method\":\"state\",\"exec_id\":null}"))
		result = state_answer;
	if (!result || !digits)
		wake();
	if (result == subscribed_answer)
		connection->other = 1;
	if (!answered(connection->fd, text, (int)digits, result))
		return 0;
	return recv(connection->fd, head, length + 4, MSG_DONTWAIT) == (ssize_t)length + 4;
}

static ssize_t move(const struct item *item)
{
	return splice(item->fd, NULL, item->other, NULL, CHUNK, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
}

/* The FIFO has no room. Without our own reading end the kernel tells whether anybody reads: if so, that is waited for
 * by the interpreter; if not, this much is dropped. Returns whether it was. */
static int dropped(const struct item *item)
{
	char path[32], data[BUFFER];
	int dead, reader;

	if (item->reader < 0)
		return 0;
	close(item->reader);
	dead = move(item) < 0 && errno == EPIPE;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", item->other);
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (reader < 0)
		refuse("cannot open a FIFO again");
	if (reader != item->reader) {
		dup2(reader, item->reader);
		close(reader);
	}
	fcntl(item->reader, F_SETFD, 0);
	return dead && read(item->fd, data, sizeof(data)) > 0;
}

/* Move what is there; at its end, or while somebody is slow, it is the interpreter's turn. */
static void relay(const struct item *item)
{
	ssize_t moved = move(item);

	if (moved > 0 || (moved < 0 && errno == EINTR))
		return;
	if (moved < 0 && errno == EAGAIN && dropped(item))
		return;
	wake();
}

static void append(const struct item *item)
{
	char data[BUFFER];
	ssize_t got = read(item->fd, data, sizeof(data)), written = 0;

	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		wake();
	while (written < got) {
		ssize_t part = write(item->other, data + written, got - written);

		if (part < 0 && errno == EINTR)
			continue;
		if (part <= 0)
			return; /* a full disk loses lines and stops nobody */
		written += part;
	}
}

static void drain(int signals)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) == sizeof(info))
		;
	if (a_process_has_ended())
		wake();
}

static void serve(int index)
{
	struct item *item = &items[index];

	switch (item->kind) {
	case SIGNALS:
		drain(item->fd);
		return;
	case LISTENER:
		welcome(item->fd);
		return;
	case RELAY:
		relay(item);
		return;
	case LOG:
		append(item);
		return;
	case CONNECTION:
		if (!attended(item))
			hang_up(item);
		return;
	default:
		wake();
	}
}

static void run(void)
{
	struct pollfd polled[MOST + MOST_CONNECTIONS];

	for (;;) {
		int asked = count;

		for (int i = 0; i < asked; i++) {
			polled[i].fd = items[i].kind == PROCESS ? -1 : items[i].fd;
			polled[i].events = is_short && items[i].kind == LISTENER ? 0 : POLLIN;
			polled[i].revents = 0;
		}
		if (poll(polled, asked, is_short ? PAUSE_MILLISECONDS : -1) < 0 && errno != EINTR)
			refuse("cannot wait");
		is_short = 0;
		/* From the end: a connection that goes leaves its place to the last one, which has been served. */
		for (int i = asked - 1; i >= 0; i--)
			if (polled[i].revents)
				serve(i);
	}
}

int main(int argc, char **argv)
{
	const char *text;
	sigset_t children;
	int i = 5, signals, listener;

	if (argc > 1 && strcmp(argv[1], "-v") == 0) {
		puts("doze " VERSION);
		return 0;
	}
	if (argc < 8)
		refuse("the arguments are a shim's");
	prctl(PR_SET_NAME, "pinnace-shim");
	signal(SIGPIPE, SIG_IGN);
	text = argv[1];
	interpreter = number(&text);
	fcntl(interpreter, F_SETFD, FD_CLOEXEC);
	text = argv[2];
	listener = number(&text);
	state_answer = argv[3];
	subscribed_answer = argv[4];
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		refuse("cannot wait for signals");
	add(SIGNALS, signals, -1);
	add(LISTENER, listener, -1);
	for (; i < argc && strcmp(argv[i], "--"); i++)
		parse(argv[i]);
	words = argv + i + 1;
	word_count = argc - i - 1;
	if (word_count < 1)
		refuse("no interpreter");
	/* What ended before signals were waited for. */
	if (a_process_has_ended())
		wake();
	run();
}
