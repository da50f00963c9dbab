// Runs a command under a kernel that refuses system calls: refuse CALL=ERRNO... -- COMMAND...
// CALL is mount, unshare, or userns: whatever makes a user namespace. ERRNO 0 claims that the call was made.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sock_filter filter[64];
static unsigned short length;

static void add(unsigned short code, unsigned char other, unsigned value) {
  filter[length++] = (struct sock_filter){code, 0, other, value};
}

static void load(size_t at) { add(BPF_LD | BPF_W | BPF_ABS, 0, at); }

static void refuse(int call, unsigned flag, int number) {
  load(offsetof(struct seccomp_data, nr));
  add(BPF_JMP | BPF_JEQ | BPF_K, flag ? 3 : 1, call);
  if (flag) {
    load(offsetof(struct seccomp_data, args[0])); // its lower half: both machines are little-endian
    add(BPF_JMP | BPF_JSET | BPF_K, 1, flag);
  }
  add(BPF_RET | BPF_K, 0, SECCOMP_RET_ERRNO | number);
}

int main(int argc, char **argv) {
  int at = 1;
  for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
    char *value = strchr(argv[at], '=');
    if (value == NULL) return 2;
    int number = atoi(value + 1);
    *value = 0;
    if (strcmp(argv[at], "mount") == 0) refuse(SYS_mount, 0, number);
    if (strcmp(argv[at], "unshare") == 0) refuse(SYS_unshare, 0, number);
    if (strcmp(argv[at], "userns") == 0) {
      refuse(SYS_unshare, CLONE_NEWUSER, number);
      refuse(SYS_clone, CLONE_NEWUSER, number);
      refuse(SYS_clone3, 0, ENOSYS); // whose flags lie in memory: the C library goes back to clone
    }
  }
  add(BPF_RET | BPF_K, 0, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {length, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
    perror("seccomp");
    return 2;
  }
  execvp(argv[at + 1], argv + at + 1);
  perror(argv[at + 1]);
  return 2;
}
