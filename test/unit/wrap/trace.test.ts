import { expect, test } from "vitest";
import { readTraceLine } from "../../../src/wrap/flix/trace.ts";

const hex = (text: string): string =>
  [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");

// Lines as strace 6.1 writes them with -f -y -xx.
test.each([
  [`71 execve("${hex("/bin/a b")}", ["${hex("a")}"], 0x7ffd /* 3 vars */) = 0`, { kind: "started", path: "/bin/a b" }],
  [
    `71 openat(AT_FDCWD<${hex("/")}>, "${hex("x/y")}", O_RDONLY|O_CLOEXEC) = 3<${hex("/r/ü>\n")}>`,
    { kind: "opened", path: "/r/ü>\n" },
  ],
  [`71 open("${hex("/etc/p")}", O_RDONLY) = 4<${hex("/etc/p")}>`, { kind: "opened", path: "/etc/p" }],
  [`71 openat(AT_FDCWD<${hex("/")}>, "${hex("\u00ff")}", O_RDONLY) = 3<\\xff>`, { kind: "opened", path: "\udcff" }],
  [`71 openat(AT_FDCWD</>, "x", O_RDONLY) = -1 ENOENT (No such file or directory)`, undefined],
  ["71 +++ exited with 0 +++", undefined],
  [`71 write(1, "execve", 6) = 6`, undefined],
])("%s", (line, told) => expect(readTraceLine(line)).toEqual(told));
