import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { bareHost, busyboxHost, glibcHost, type Host, merge } from "../support/isolated-host.ts";
import { muslProgramsRoot } from "../support/musl-programs.ts";
import { flixFolder, scratch, sh } from "../support/program.ts";

/** One program, what of the image it needs, and a job that it does by itself, without a shell of the host. */
interface Row {
  readonly name: string;
  readonly paths: readonly string[];
  readonly job: readonly string[];
  readonly output: string;
}

const script = `
class Names extends Map {}
const names = new Names([["a", 1]]);
const failed = await (async () => { try { throw new Error("thrown"); } catch (error) { return error.message; } })();
console.log(new Bun.CryptoHasher("md5").update("a").digest("hex"), [...names].join(), failed);
`;
const said = "0cc175b9c0f1b6a831c399e269772661 a,1 thrown\n";

const rows: readonly Row[] = [
  {
    name: "busybox",
    paths: ["/usr/bin/sh", "/usr/bin/cat", "/usr/bin/busybox"],
    job: ["/usr/bin/sh", "-c", "for i in 1 2 3; do s=$((s + i)); done; echo $s | cat; busybox id -u"],
    output: "6\n0\n",
  },
  {
    name: "bash",
    paths: ["/usr/bin/bash", "/usr/lib/bash"],
    job: [
      "/usr/bin/bash",
      "-c",
      "declare -A a=([x]=6 [y]=7); echo $((a[x] * a[y])) <(:); enable -f /usr/lib/bash/realpath realpath && realpath /usr/../tmp; (exit 3) & wait $!; echo $?",
    ],
    output: "42 /dev/fd/63\n/tmp\n3\n",
  },
  {
    name: "jq",
    paths: ["/usr/bin/jq"],
    job: ["/usr/bin/jq", "-nc", '["a1", "b22"] | map(capture("(?<n>[0-9]+)").n | tonumber) | [add, (.[0] | sqrt)]'],
    output: "[23,1]\n",
  },
  {
    name: "lua",
    paths: ["/usr/bin/lua", "/usr/lib/lua"],
    job: [
      "/usr/bin/lua",
      "-e",
      'package.cpath = "/usr/lib/lua/5.4/?.so"; print(require("answer"), ("%5.2f"):format(math.pi), select("#", ("a,b"):gsub(",", "")))',
    ],
    output: "42\t 3.14\t2\n",
  },
  { name: "bun", paths: ["/usr/bin/bun"], job: ["/usr/bin/bun", "-e", script], output: said },
];

const work = scratch();
const hosts: readonly [string, (root: string) => Host][] = [
  ["where there is nothing else", bareHost],
  ["on a host without any library", busyboxHost],
  ["on a host with glibc", (root) => glibcHost(root, "trixie")],
];

function flix(root: string, name: string, paths: readonly string[]): string {
  const extension = join(work, name);
  const { status, stderr } = flixFolder(extension, root, name, ["--quiet", ...paths]);
  expect([status, stderr]).toEqual([0, ""]);
  return extension;
}

let root: string;
beforeAll(() => {
  root = muslProgramsRoot();
});

describe.each(rows)("$name for musl", ({ name, paths, job, output }) => {
  let extension: string;
  beforeAll(() => {
    extension = flix(root, name, paths);
  });

  test("is a program of musl with a library of its own, where it has one", () => {
    const headers = sh(`readelf -lWd ${root}${paths[0]!.replace("/sh", "/busybox")}`);
    expect(headers).toMatch(/interpreter: \/lib\/ld-musl-/);
    const own = { jq: "libjq.so.1", lua: "liblua5.4.so.0", bun: "libstdc++.so.6" }[name];
    expect(headers).toContain(own ?? "libc.so");
  });

  test.each(hosts)("does its job %s", (kind, makeHost) => {
    const host = makeHost(join(work, `${name} ${kind}`));
    merge(host, extension);
    // The variable that musl's own loader would ask first.
    const { status, stdout, stderr } = host.run(job, { env: { HOME: "/tmp", LD_LIBRARY_PATH: "/usr/lib:/lib" } });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: output, stderr: "" });
  });
});

test("a program with a payload of its own, made by bun in the image, is taken out of it and works", () => {
  const shared = join(work, "made");
  mkdirSync(shared);
  writeFileSync(join(shared, "script.js"), script);
  sh(
    `bwrap --ro-bind ${root} / --proc /proc --dev /dev --tmpfs /tmp --bind ${shared} /opt /usr/bin/bun build --compile /opt/script.js --outfile /opt/tool`,
  );
  const image = join(work, "image");
  sh(
    `mkdir -p ${image}/usr/bin && cp -a ${root}/usr/lib ${image}/usr/ && ln -s usr/lib ${image}/lib && cp ${shared}/tool ${image}/usr/bin`,
  );
  const host = bareHost(join(work, "bare"));
  merge(host, flix(image, "tool", ["/usr/bin/tool"]));
  expect(host.run(["/usr/bin/tool"])).toEqual({ status: 0, stdout: said, stderr: "" });
});
