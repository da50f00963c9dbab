// What a program can tell about the way it was started, and a few things it can do. Built by the tests.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static void hex(const char *text) {
  putchar('"');
  for (; *text; text++) printf("%02x", (unsigned char)*text);
  putchar('"');
}

static void list(const char *name, char **texts) {
  printf("\"%s\":[", name);
  for (int i = 0; texts[i]; i++) {
    if (i) putchar(',');
    hex(texts[i]);
  }
  printf("],");
}

static void report(char **argv) {
  char cwd[4096] = "", *where = getcwd(cwd, sizeof cwd);
  list("argv", argv);
  list("environ", environ);
  printf("\"pid\":%d,\"ppid\":%d,\"pgrp\":%d,\"session\":%d,", getpid(), getppid(), getpgrp(), getsid(0));
  printf("\"uid\":[%d,%d],\"gid\":[%d,%d],\"groups\":[", getuid(), geteuid(), getgid(), getegid());
  gid_t groups[64];
  int count = getgroups(64, groups);
  for (int i = 0; i < count; i++) printf("%s%d", i ? "," : "", groups[i]);
  mode_t mask = umask(0);
  umask(mask);
  printf("],\"umask\":%d,\"cwd\":", mask);
  hex(where ? where : "");
  printf(",\"files\":[");
  const char *comma = "";
  for (int fd = 0; fd < 256; fd++)
    if (fcntl(fd, F_GETFD) >= 0) printf("%s%d", comma, fd), comma = ",";
  printf("],\"ignored\":[");
  comma = "";
  for (int number = 1; number < 32; number++) {
    struct sigaction action;
    if (!sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN) printf("%s%d", comma, number), comma = ",";
  }
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, NULL, &blocked);
  printf("],\"blocked\":[");
  comma = "";
  for (int number = 1; number < 32; number++)
    if (sigismember(&blocked, number)) printf("%s%d", comma, number), comma = ",";
  struct winsize size = {0};
  ioctl(0, TIOCGWINSZ, &size);
  printf("],\"tty\":%d,\"rows\":%d,\"columns\":%d,\"ttyname\":\"%s\"}\n", isatty(0), size.ws_row, size.ws_col,
         ttyname(0) ? ttyname(0) : "");
}

static void try_open(const char *path, int flags) {
  int fd = open(path, flags, 0666);
  printf("%s %s\n", path, fd >= 0 ? "ok" : strerrorname_np(errno));
  if (fd >= 0 && (flags & O_ACCMODE) != O_RDONLY && write(fd, "x", 1) < 0) puts("cannot write");
  if (fd >= 0) close(fd);
}

// A Type=notify service with a socket from systemd (sd_notify(3), sd_listen_fds(3)): answers each caller with its report.
static int serve(char **argv) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  const char *socket_path = getenv("NOTIFY_SOCKET"), *listen_pid = getenv("LISTEN_PID");
  if (!socket_path || !listen_pid || atoi(listen_pid) != getpid()) return 3;
  strncpy(to.sun_path, socket_path, sizeof to.sun_path - 1);
  if (*to.sun_path == '@') *to.sun_path = 0;
  int notify = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (sendto(notify, "READY=1", 7, 0, (void *)&to, offsetof(struct sockaddr_un, sun_path) + strlen(socket_path)) < 0) return 4;
  for (int peer; (peer = accept(3, NULL, NULL)) >= 0; close(peer)) {
    dup2(peer, 1);
    putchar('{');
    report(argv);
    try_open("/usr/x", O_WRONLY | O_CREAT);
    try_open("/dev/null", O_WRONLY);
    try_open("/etc/hostname", O_RDONLY);
    try_open("/run/probe.mark", O_WRONLY | O_CREAT);
    fflush(stdout);
    close(1);
  }
  return 5;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "report";
  if (!strcmp(what, "exit")) return atoi(argv[2]);
  if (!strcmp(what, "kill")) return raise(atoi(argv[2])), pause();
  if (!strcmp(what, "sleep")) return puts("ready"), fflush(stdout), sleep(atoi(argv[2]));
  if (!strcmp(what, "spam")) {
    char block[65536];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < atoi(argv[2]); i++)
      if (fwrite(block, sizeof block, 1, stdout) != 1) return 1;
    return 0;
  }
  if (!strcmp(what, "cat")) {
    char block[65536];
    for (size_t count; (count = fread(block, 1, sizeof block, stdin)) > 0;) fwrite(block, 1, count, stdout);
    return 0;
  }
  if (!strcmp(what, "write") || !strcmp(what, "read") || !strcmp(what, "make")) {
    int flags = *what == 'w' ? O_WRONLY : *what == 'r' ? O_RDONLY : O_WRONLY | O_CREAT | O_EXCL;
    for (int i = 2; i < argc; i++) try_open(argv[i], flags);
    return 0;
  }
  if (!strcmp(what, "serve")) return serve(argv);
  if (!strcmp(what, "run")) return execv(argv[2], argv + 2), perror(argv[2]), 1;
  putchar('{');
  report(argv);
  return 0;
}
