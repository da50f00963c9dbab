import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { checkFiles } from "../../src/image/check.ts";
import { compareExtensions } from "../../src/image/compare.ts";
import { describeExtension, wordDescription } from "../../src/image/info.ts";
import { openExtension } from "../../src/image/open.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "compare-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const context = quietContext({ env: process.env });

/** An image that mksquashfs made of a folder that a script filled. */
function image(name: string, script: string): string {
  const place = mkdtempSync(join(folder, `${name}-`));
  execFileSync("bash", ["-ec", `chmod 755 .; mkdir -p usr/bin usr/share\n${script}`], { cwd: place });
  const path = join(folder, `${name}.raw`);
  execFileSync("mksquashfs", [place, path, "-noappend", "-quiet", "-no-progress"]);
  return path;
}

test("compare names what differs, whatever the format, and nothing else", async () => {
  const common = "echo same >usr/share/same; ln -s a usr/share/l";
  const first = image(
    "first",
    `${common}; echo 1 >usr/share/x; echo only >usr/bin/one; echo abc >usr/share/text; touch usr/share/t`,
  );
  const changes =
    "chmod 755 usr/share/x; chown 5 usr/share/same; rm usr/bin/one; touch usr/bin/two; echo abd >usr/share/text; ln -sfn b usr/share/l; mkdir usr/share/t";
  const second = image(
    "second",
    `${common}; echo 1 >usr/share/x; echo only >usr/bin/one; echo abc >usr/share/text; ${changes}; setfattr -n user.k -v v usr/bin`,
  );
  const [a, b] = [await openExtension(first, context), await openExtension(second, context)];
  try {
    expect(
      Object.fromEntries([...compareExtensions(a.rootfs, b.rootfs)].map(({ path, what }) => [path, what])),
    ).toEqual({
      "/usr/bin": ["attribute user.k"],
      "/usr/bin/one": "first",
      "/usr/bin/two": "second",
      "/usr/share/l": ["target a and b"],
      "/usr/share/same": ["owner 0:0 and 5:0"],
      "/usr/share/t": ["type file and directory"],
      "/usr/share/text": ["content"],
      "/usr/share/x": ["mode 0644 and 0755"],
    });
    expect([...compareExtensions(a.rootfs, a.rootfs)]).toEqual([]);
  } finally {
    a.close();
    b.close();
  }
});

const release = (name: string, text: string) =>
  `mkdir -p usr/lib/extension-release.d; printf '${text}' >usr/lib/extension-release.d/extension-release.${name}`;

test("info tells hosts, units, what is copied, and the systemd that is needed", async () => {
  const path = image(
    "web",
    `${release("web", "ID=_any\\nARCHITECTURE=x86-64\\nEXTENSION_RELOAD_MANAGER=1\\nFLIXWRAP_NOTE=a\\033[31mb\\n")}
touch usr/bin/web; chmod 755 usr/bin/web
mkdir -p usr/lib/systemd/system/multi-user.target.d usr/lib/tmpfiles.d usr/share/flixwrap/web
echo '[Service]' >usr/lib/systemd/system/web.service
printf '[Unit]\\nUpholds=web.service\\n' >usr/lib/systemd/system/multi-user.target.d/10-web.service.conf
printf 'C /etc/web.conf 0644 root root - /usr/share/web/etc/web.conf\\nd /var/lib/web\\n' >usr/lib/tmpfiles.d/web.conf
echo '{"name":"web","flixwrap":"1.0","image":"r/web@sha256:0","command":["flixwrap","flix","r/web","web","/a b"],"packages":["pkg:deb/debian/web@1%2B2?arch=amd64"]}' >usr/share/flixwrap/web/manifest.json`,
  );
  const info = await describeExtension(path, context);
  expect(info).toMatchObject({
    name: "web",
    format: "squashfs",
    programs: ["/usr/bin/web"],
    units: ["/usr/lib/systemd/system/web.service"],
    enabled: ["web.service by multi-user.target"],
    etc: ["/etc/web.conf"],
    manifest: { image: "r/web@sha256:0" },
  });
  expect(info.needs.map(({ systemd }) => systemd)).toEqual([248, 249, 252, 252, 255]);
  const text = wordDescription(info);
  expect(text).toContain("web@1+2");
  expect(text).toContain("flixwrap flix r/web web '/a b'");
  expect(text).not.toContain("\u001b");
  // A folder is told alike.
  const bare = join(folder, "bare");
  mkdirSync(join(bare, "usr"), { recursive: true });
  expect(wordDescription(await describeExtension(bare, context))).toContain("no extension-release");
});

test("files are checked alone and together; a damaged one is a finding, not the end (X24)", async () => {
  const text = "ID=_any\\nARCHITECTURE=_any\\n";
  const one = image("one", `${release("one", text)}; touch usr/share/same`);
  const two = image("two", `${release("two", text)}; echo >usr/share/same`);
  const broken = join(folder, "broken.raw");
  writeFileSync(broken, "hsqs and nothing more");
  const missing = join(folder, "none.raw");
  const { reports, unread } = await checkFiles([one, missing, broken, two], {}, context);
  expect(reports.map(({ findings }) => findings.map(({ rule, path }) => [rule, path]))).toEqual([
    [],
    [["damaged", undefined]],
    [],
    [["collision", "/usr/share/same"]],
  ]);
  expect(reports.at(-1)!.files).toEqual([one, two]);
  expect(unread).toMatchObject({ code: "host-no-image", facts: { where: missing } });
  expect((await checkFiles([one, two], { skip: ["collision"] }, context)).reports).toHaveLength(2);
});
