// Runs a command on a terminal of its own and plays the user in front of it. Built by the tests.
//   terminal show COMMAND...             looks on
//   terminal type WORD KEYS COMMAND...   types the keys when the word has appeared
//   terminal stop COMMAND...             waits for "ready", stops the job, sees it continued, interrupts it
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// Prints what the terminal shows until it closes or says "word"; 10 seconds at most.
static void show(int master, const char *word) {
  static char seen[1 << 16];
  size_t length = 0;
  struct pollfd wait = {.fd = master, .events = POLLIN};
  while (length < sizeof seen - 1 && poll(&wait, 1, 10000) > 0) {
    ssize_t count = read(master, seen + length, sizeof seen - 1 - length);
    if (count <= 0) break;
    fwrite(seen + length, 1, count, stdout);
    length += count;
    seen[length] = 0;
    if (word && strstr(seen, word)) break;
  }
  fflush(stdout);
}

static int ended(pid_t job) {
  int status;
  waitpid(job, &status, WUNTRACED);
  if (WIFEXITED(status)) printf("job exited %d\n", WEXITSTATUS(status));
  if (WIFSIGNALED(status)) printf("job killed %d\n", WTERMSIG(status));
  if (WIFSTOPPED(status)) printf("job stopped %d\n", WSTOPSIG(status));
  fflush(stdout);
  return WIFSTOPPED(status);
}

// The session's leader, as a shell: runs the job in the foreground and continues it when it has stopped.
static void lead(char **command) {
  signal(SIGTTOU, SIG_IGN);
  pid_t job = fork();
  if (job == 0) {
    setpgid(0, 0);
    tcsetpgrp(0, getpid());
    signal(SIGTTOU, SIG_DFL);
    execvp(command[0], command);
    _exit(127);
  }
  setpgid(job, job);
  while (ended(job)) kill(-job, SIGCONT);
  _exit(0);
}

int main(int argc, char **argv) {
  struct winsize size = {.ws_row = 33, .ws_col = 77};
  int master, types = argc > 4 && !strcmp(argv[1], "type");
  if (argc < 3) return 2;
  if (forkpty(&master, NULL, NULL, &size) == 0) lead(argv + (types ? 4 : 2));
  if (types) {
    show(master, argv[2]);
    write(master, argv[3], strlen(argv[3]));
  }
  if (!strcmp(argv[1], "stop")) {
    show(master, "ready");
    write(master, "\032", 1);
    show(master, "job stopped");
    write(master, "\003", 1);
  }
  show(master, NULL);
  return 0;
}
