import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A small real program that stands in for an upstream's: prints its name and arguments; with NOTIFY_SOCKET in its
 * environment it reports readiness as a service does (sd_notify(3)) and waits for its end, as the servers among the
 * programs do without it when systemd starts them.
 */
const source = String.raw`
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static int tell(const char *path, const char *text) {
  struct sockaddr_un to = { .sun_family = AF_UNIX };
  size_t length = strlen(path);
  if (length >= sizeof to.sun_path) return -1;
  memcpy(to.sun_path, path, length);
  if (path[0] == '@') to.sun_path[0] = 0;
  int s = socket(AF_UNIX, SOCK_DGRAM, 0);
  return sendto(s, text, strlen(text), 0, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + length);
}
int main(int count, char **words) {
  const char *name = strrchr(words[0], '/');
  printf("%s", name ? name + 1 : words[0]);
  for (int i = 1; i < count; i++) printf(" %s", words[i]);
  printf("\n");
  fflush(stdout);
  const char *socket_path = getenv("NOTIFY_SOCKET");
  if (socket_path) { tell(socket_path, "READY=1"); for (;;) pause(); }
  static const char *servers[] = { "nats-server", "wasmcloud", "ollama", "kubelet" };
  for (int i = 0; getenv("INVOCATION_ID") && i < 4; i++)
    if (strstr(words[0], servers[i])) for (;;) pause();
  return 0;
}
`;

const compilers = { "x86-64": "musl-gcc", arm64: "aarch64-linux-gnu-gcc" } as const;
export type StandInArchitecture = keyof typeof compilers;

const built = new Map<StandInArchitecture, Buffer>();

/** The program for an architecture, statically linked. Debian: musl-tools, gcc-aarch64-linux-gnu. */
export function standIn(architecture: StandInArchitecture): Buffer {
  const known = built.get(architecture);
  if (known !== undefined) return known;
  const folder = mkdtempSync(join(tmpdir(), "flixwrap-stand-in-"));
  try {
    writeFileSync(join(folder, "a.c"), `#include <stddef.h>\n${source}`);
    execFileSync(compilers[architecture], ["-static", "-Os", "-s", "-o", join(folder, "a"), join(folder, "a.c")]);
    const bytes = readFileSync(join(folder, "a"));
    built.set(architecture, bytes);
    return bytes;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
