import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { checkTree, wordFinding } from "../../src/extension/check/check.ts";
import { buildTree, type ExtensionTree } from "../../src/extension/tree.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { packTree } from "../../src/pack/pack.ts";
import { checkRecipe } from "../../src/recipes/check.ts";
import { finishRecipe } from "../../src/recipes/finish.ts";
import type { Images } from "../../src/recipes/images.ts";
import { planRecipe } from "../../src/recipes/plan.ts";
import { readRecipe } from "../../src/recipes/recipe.ts";
import { listVersions } from "../../src/recipes/versions.ts";
import { leavesOf, portsTo } from "../support/recipes.ts";
import { githubReleases, named, serveUpstream } from "../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../support/web-mirror.ts";
import { bootAndRun, configuredRoot, copyRoot, systemd257 } from "./pack-guest.ts";

/** The examples of docs/recipes.md as folders, by the marks before their code blocks. */
function writeExamples(folder: string): void {
  const page = readFileSync("docs/recipes.md", "utf8");
  for (const [, kind, path, text] of page.matchAll(/<!-- example( file)?: (\S+) -->\n```\w+\n([^]*?)```/g)) {
    const file = join(folder, kind === undefined ? `${path}/recipe.yaml` : path!);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text!);
  }
}

let mirror: WebMirror;
let folder: string;
beforeAll(async () => {
  mirror = await openWebMirror();
  folder = mkdtempSync(join(tmpdir(), "flixwrap-docs-"));
  writeExamples(folder);
  // Made once, which takes its time.
  for (const name of ["nginx-light", "htop"]) configuredRoot("bookworm", [name]);
  systemd257();
});
afterAll(async () => {
  await mirror.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Debian as it is after the example's command: the package installed by Debian's own tools. */
function debianWith(name: string): { images: Images; version: string } {
  const root = openFolder(configuredRoot("bookworm", [name]), quietContext());
  const installed = /Version: ([0-9.]+)/.exec(
    readFileSync(join(configuredRoot("bookworm", [name]), "var/lib/dpkg/status"), "utf8")
      .split("\n\n")
      .find((record) => record.startsWith(`Package: ${name}\n`))!,
  )![1]!;
  return {
    version: installed,
    images: {
      open: ({ image, run }) => {
        expect(image).toBe("debian:bookworm-slim");
        expect(run).toContain(`"${name}=${installed}-*"`);
        return Promise.resolve({ root, digest: `sha256:${"d".repeat(64)}`, close: () => undefined });
      },
      printed: () => Promise.resolve(` ${name} | ${installed}-1 | a mirror\n`),
    },
  };
}

async function bakeExample(name: string, version: string, images?: Images): Promise<ExtensionTree> {
  const recipe = readRecipe(join(folder, name));
  expect(checkRecipe(recipe).filter(({ severity }) => severity === "error")).toEqual([]);
  const ports = portsTo(mirror, join(folder, "cache"));
  const sources = { web: ports.web, ...(images?.printed !== undefined && { printed: images.printed }) };
  expect(await listVersions(recipe.file.versions!, sources)).toContain(version);
  const planned = await planRecipe(
    { recipe, version, architecture: "x86-64" },
    { ...ports, ...(images !== undefined && { images }) },
  );
  try {
    const tree = buildTree(finishRecipe(planned, { tool: "test" }), { name, allowSuid: false });
    const errors = checkTree(tree).filter(({ severity }) => severity === "error");
    expect(errors.map((finding) => wordFinding(finding))).toEqual([]);
    await packTree(
      tree,
      { format: "squashfs", output: join(folder, `${name}.raw`), epoch: 0 },
      quietContext({ env: process.env }),
    );
    return tree;
  } finally {
    planned.close();
  }
}

test("the examples bake, merge at boot, and run", async () => {
  const release = "https://github.com/jqlang/jq/releases/download/jq-1.7.1";
  serveUpstream(mirror, {
    version: "1.7.1",
    pages: githubReleases("jqlang/jq", ["jq-1.7.1", "jq-1.8.0rc1", "jq-1.6"]),
    files: ({ go }) => [
      { address: `${release}/jq-linux-${go}`, sums: { address: `${release}/sha256sum.txt`, line: named } },
    ],
  });
  const jq = await bakeExample("jq", "1.7.1");
  expect(leavesOf(jq).filter((path) => path.startsWith("/usr/bin"))).toEqual(["/usr/bin/jq"]);

  const nginx = debianWith("nginx-light");
  const web = await bakeExample("web", nginx.version, nginx.images);
  expect(leavesOf(web)).toEqual(
    expect.arrayContaining([
      "/usr/bin/nginx",
      "/usr/share/web/html/index.html",
      "/usr/lib/systemd/system/multi-user.target.d/10-web.service.conf",
    ]),
  );

  const htop = debianWith("htop");
  await bakeExample("monitor", htop.version, htop.images);

  const guest = copyRoot(systemd257());
  try {
    const extensions = join(guest, "var/lib/extensions");
    mkdirSync(extensions, { recursive: true });
    for (const name of ["jq", "web", "monitor"])
      writeFileSync(join(extensions, `${name}.raw`), readFileSync(join(folder, `${name}.raw`)));
    const said = bootAndRun(
      guest,
      `
ip link set lo up 2>/dev/null
for _ in $(seq 50); do systemctl is-active -q web && break; sleep 0.2; done
echo "web $(systemctl is-active web)"
for _ in $(seq 20); do exec 3<>/dev/tcp/127.0.0.1/8080 && break; sleep 0.2; done 2>/dev/null
printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; echo "page $(head -1 <&3)"
jq --version
htop --version | head -1
setpriv --reuid=65534 --regid=65534 --clear-groups htop --version | head -1
`,
    );
    expect(said.trim().split("\n")).toEqual([
      "web active",
      expect.stringMatching(/^page HTTP\/1\.1 200 OK/),
      "jq --version",
      `htop ${htop.version}`,
      `htop ${htop.version}`,
    ]);
  } finally {
    rmSync(guest, { recursive: true, force: true });
  }
});

test("the page's table of keys has every key of the schema", async () => {
  const { recipeSchema } = await import("../../src/recipes/schema.ts");
  const page = readFileSync("docs/recipes.md", "utf8");
  const table = page.slice(page.indexOf("| key | meaning |"), page.indexOf("### Names in templates"));
  const told = [...table.matchAll(/`([a-z-]+)`/g)].map((match) => match[1]);
  const keys = Object.keys((recipeSchema as unknown as { properties: object }).properties).filter(
    (key) => key !== "$schema",
  );
  for (const key of keys) expect(told).toContain(key);
});
