import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

const folder = scratch();
const tree = join(folder, "tree");
beforeAll(() => {
  mkdirSync(join(tree, "usr/bin"), { recursive: true });
  writeFileSync(join(tree, "usr/bin/hey"), "#!/bin/sh\necho hey\n", { mode: 0o755 });
});

describe("looking into images", () => {
  const formats = ["squashfs", "erofs", "ext4", "ext2", "btrfs", "ddi", "tar", "dir"];
  const made = (format: string, ...options: string[]) => {
    const output = join(folder, `made-${format}-${options.length}`);
    if (!existsSync(output))
      expect(
        flixwrap([
          "pack",
          tree,
          "foo",
          "--quiet",
          "--any-file-name",
          "--arch",
          "x86-64",
          "--format",
          format,
          "-o",
          output,
          ...options,
        ]),
      ).toMatchObject({ status: 0 });
    return output;
  };

  test.each(formats)("%s: compare finds what differs, info --files lists it, unpack writes it", (format) => {
    const image = made(format, "--no-papers");
    const first = made("squashfs", "--no-papers");
    expect(flixwrap(["compare", first, image])).toEqual({ status: 0, stdout: "", stderr: "" });
    const other = flixwrap(["compare", image, made("squashfs", "--no-papers", "--version-id", "7")]);
    expect(other.status).toBe(1);
    expect(other.stdout).toMatch(/^\/usr\/lib\/extension-release\.d\/extension-release\.foo: size \d+ and \d+\n$/);

    const folders = join(folder, `unpacked-${format}`);
    expect(flixwrap(["unpack", "--quiet", image, folders])).toMatchObject({ status: 0, stdout: `${folders}\n` });
    expect(flixwrap(["compare", image, folders]).stdout).toBe("");
    // The kernel's own words for the same things.
    const seen = sh("find . -printf '/%P %y %04m %U:%G %s\\n' | sort", { cwd: folders });
    const listed = JSON.parse(flixwrap(["info", "--files", "--json", image]).stdout) as Record<string, unknown>[];
    const told = listed.map(
      ({ path, type, mode, uid, gid, size }) =>
        `${String(path)} ${String(type)[0]} ${String(mode)} ${String(uid)}:${String(gid)} ${String(size ?? "")}`,
    );
    expect(told.toSorted()).toEqual(
      seen
        .trim()
        .split("\n")
        .map((line) => (/ d \d+ \S+ /.test(line) ? line.replace(/\d+$/, "") : line))
        .toSorted(),
    );
    expect(
      sh("getfattr --only-values -n user.extension-release.strict usr/lib/extension-release.d/*", { cwd: folders }),
    ).toBe("0");
  });

  test("info tells what needs which systemd", () => {
    const { needs } = JSON.parse(
      flixwrap(["info", "--json", made("ddi", "--restart-unit", "x.service", "--scope", "system")]).stdout,
    ) as { readonly needs: readonly { readonly systemd: number; readonly what: string }[] };
    expect(needs.map(({ systemd, what }) => `${systemd} ${what.split(" ").slice(0, 3).join(" ")}`)).toEqual(
      [
        "248 system extensions",
        "250 SYSEXT_SCOPE= (older ones",
        "250 merged under any",
        "250 signed disk images",
        "252 ID=_any (older ones",
        "252 ARCHITECTURE= is compared",
        "262 units are restarted",
      ].map((line) => line.split(" ").slice(0, 4).join(" ")),
    );
  });
});
