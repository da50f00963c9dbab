import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kept } from "./kept.ts";

/**
 * The upstream source of a Debian source package, unpacked; kept below the temporary folder for other tests.
 * The machine's apt may know only binary packages, so apt runs with lists of its own, made from the machine's.
 */
export function debianSource(name: string): string {
  return kept(`source-${name}`, (unpacked) => fetchSource(name, unpacked));
}

function fetchSource(name: string, unpacked: string): void {
  const work = mkdtempSync(join(tmpdir(), "flixwrap-source-"));
  const sources = join(work, "sources");
  mkdirSync(sources);
  mkdirSync(join(work, "lists/partial"), { recursive: true });
  for (const [file, text] of machineSources()) writeFileSync(join(sources, file), text);
  const options = [
    "Dir::Etc::sourcelist=/dev/null",
    `Dir::Etc::sourceparts=${sources}`,
    `Dir::State::lists=${join(work, "lists")}`,
    "APT::Sandbox::User=root",
    "Debug::NoLocking=true",
  ].flatMap((option) => ["-o", option]);
  const apt = (...args: string[]): void =>
    void execFileSync("apt-get", ["-qq", ...options, ...args], { cwd: work, stdio: ["ignore", "ignore", "pipe"] });
  apt("update");
  apt("source", "--download-only", name);
  const archive = readdirSync(work).find((file) => /\.orig\.tar\.\w+$/.test(file));
  if (archive === undefined)
    throw new Error(`source package ${name} has no upstream archive: ${readdirSync(work).join(" ")}`);
  mkdirSync(unpacked);
  execFileSync("tar", ["-xf", join(work, archive), "-C", unpacked, "--strip-components=1"]);
  rmSync(work, { recursive: true });
}

function machineSources(): [string, string][] {
  const parts = "/etc/apt/sources.list.d";
  const files = [
    ...(existsSync("/etc/apt/sources.list") ? ["/etc/apt/sources.list"] : []),
    ...readdirSync(parts).map((file) => join(parts, file)),
  ];
  return files.map((path) => [
    path.slice(1).replaceAll("/", "-"),
    readFileSync(path, "utf8")
      // Mirrors may lack the sources of security updates; any version of a source serves.
      .replace(/^deb .*security.*$/gm, "")
      .split(/\n(?=\n)/)
      .filter((stanza) => !/^URIs:.*security/m.test(stanza))
      .join("\n")
      .replace(/^Types:.*$/gm, "Types: deb-src")
      .replace(/^deb(-src)? /gm, "deb-src "),
  ]);
}
