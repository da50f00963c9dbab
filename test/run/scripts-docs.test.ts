import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

/** What docs/scripts.md promises to scripts and to programs, held against the program and the packed package. */
const work = scratch();
const top = new URL("../..", import.meta.url).pathname;
const page = readFileSync(join(top, "docs/scripts.md"), "utf8");

beforeAll(() => {
  sh(
    `mkdir -p root/usr/bin && echo 'int main(void) { return 0; }' > main.c && gcc -o root/usr/bin/tool main.c
     for file in $(ldd root/usr/bin/tool | grep -o '/[^ ]*'); do cp -L --parents $file root; done`,
    { cwd: work },
  );
});

describe("JSON", () => {
  const env = { FLIXWRAP_CACHE_DIR: join(work, "cache") };
  const run = (line: string) => flixwrap(line.split(" "), { cwd: work, env });
  const rowOf = (command: string): string =>
    page.split("\n").find((line) => line.startsWith("| ") && line.split(" | ")[0]!.includes(`\`${command}\``))!;
  const keysOf = (value: unknown): string[] =>
    Array.isArray(value)
      ? value.flatMap(keysOf)
      : typeof value === "object" && value !== null
        ? Object.keys(value)
        : [];

  it.each([
    ["flix", "flix --json dir:root tool /usr/bin/tool"],
    ["flix", "flix --json --dry-run dir:root tool /usr/bin/tool"],
    ["flatwrap", "flatwrap --json -o wrapped.raw --checksums dir:root tool /usr/bin/tool"],
    ["check", "check --json tool.raw wrapped.raw"],
    ["info", "info --json tool.raw"],
    ["info --files", "info --files --json tool.raw"],
    ["compare", "compare --json tool.raw wrapped.raw"],
    ["pull", "pull --json dir:root pulled"],
    ["cache list", "cache list --json"],
    ["cache verify", "cache verify --json"],
    ["list", "list --json"],
    ["recipe check", "recipe check --json docker"],
  ])("%s: every key is in the docs (%s)", (command, line) => {
    const { stdout, stderr } = run(line);
    const lines = stdout.trimEnd().split("\n");
    const row = rowOf(command);
    if (command !== "check") expect(lines).toHaveLength(1);
    for (const text of lines) for (const key of keysOf(JSON.parse(text))) expect(row).toContain(`\`${key}\``);
    for (const text of stderr.split("\n").filter(Boolean)) {
      const keys = keysOf(JSON.parse(text));
      for (const key of keys) expect(page.slice(page.indexOf("Standard error has events"))).toContain(`\`${key}\``);
    }
  });

  it("warnings of the plan and of the checks are in the result, too", () => {
    sh("mkdir -p suid && cp -r root/. suid && chmod 4755 suid/usr/bin/tool", { cwd: work });
    const { stdout, stderr } = run("flix --json --allow-suid -o suid.raw dir:suid suid /usr/bin/tool");
    const { warnings } = JSON.parse(stdout) as { warnings: string[] };
    expect(warnings.join()).toContain("[setuid]");
    const events = stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { kind: string; message: string });
    expect(events.filter(({ kind }) => kind === "warning").map(({ message }) => message)).toEqual(warnings);
  });

  it("an error is one line with a code", () => {
    const { status, stdout, stderr } = run("flix --json dir:root tool /usr/bin/none");
    expect([status, stdout]).toEqual([1, ""]);
    expect(JSON.parse(stderr.trim().split("\n").at(-1)!)).toMatchObject({ kind: "error", code: "wrap-entry-missing" });
  });
});

describe("the library, as it is packed", () => {
  const names: string[] = [];
  beforeAll(() => {
    sh(`npm pack --silent --ignore-scripts --pack-destination ${work} ${top} && tar -xzf flixwrap-*.tgz`, {
      cwd: work,
    });
    // The packages that npm would install beside it.
    mkdirSync(join(work, "node_modules"));
    for (const name of readdirSync(join(top, "node_modules")).filter((one) => !one.startsWith("."))) {
      symlinkSync(join(top, "node_modules", name), join(work, "node_modules", name));
    }
    symlinkSync("../package", join(work, "node_modules/flixwrap"));
    writeFileSync(join(work, "package.json"), `{ "type": "module" }`);
    for (const [, name, text] of page.matchAll(/<!-- example: ([\w.]+) -->\n+```ts\n([^]*?)```/g)) {
      names.push(name!);
      const here = text!
        .replaceAll("alpine:latest", "dir:root")
        .replaceAll("jq", "tool")
        .replace("tool --version", "tool");
      writeFileSync(join(work, name!), here);
    }
    expect(names).toEqual(["convert.ts", "image.ts", "edit.ts"]);
  });

  it.each(["node16 node16", "nodenext nodenext", "bundler preserve"])(
    "has types: moduleResolution, module %s",
    (how) => {
      const [resolution, module] = how.split(" ");
      const options = `--strict --skipLibCheck false --target es2023 --types node --moduleResolution ${resolution} --module ${module}`;
      sh(`${top}/node_modules/.bin/tsc ${options} --outDir out-${module} ${names.join(" ")}`, { cwd: work });
    },
  );

  it("does what the examples say", () => {
    sh("cp root/usr/bin/tool . && ln -sfn out-nodenext out && cp package.json out/", { cwd: work });
    const env = { HOME: work };
    expect(sh("node out/convert.js 2>/dev/null", { cwd: work, env })).toMatch(/^tool\.raw [0-9a-f]{64} \[\]\n$/);
    expect(sh("node out/image.js", { cwd: work, env })).toContain("/usr/bin/tool [ 'libc.so.6' ]\n");
    sh("node out/edit.js", { cwd: work, env });
    expect(sh("readelf -d tool.new && ./tool.new", { cwd: work })).toContain("Library rpath: [/opt/tool/lib]");
  });
});
