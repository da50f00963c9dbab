import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import { buildTree, type ExtensionTree } from "../../src/extension/tree.ts";
import { planRecipe, type PlannedRecipe, type RecipeRequest } from "../../src/recipes/plan.ts";
import { readRecipe } from "../../src/recipes/recipe.ts";
import { openWeb } from "../../src/recipes/web.ts";
import { serveUpstream, upstreams } from "../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../support/web-mirror.ts";

let mirror: WebMirror;
let folder: string;

beforeAll(async () => {
  mirror = await openWebMirror();
  folder = mkdtempSync(join(tmpdir(), "flixwrap-recipes-"));
  for (const upstream of Object.values(upstreams)) serveUpstream(mirror, upstream);
});
afterAll(async () => {
  await mirror.close();
  rmSync(folder, { recursive: true, force: true });
});

const plan = (name: string, request: Partial<RecipeRequest> = {}): Promise<PlannedRecipe> => {
  const context = quietContext();
  const cache = join(folder, "cache");
  const web = openWeb({ cache, mirrors: [{ from: "*", to: mirror.base }], pause: 1 }, context);
  const recipe = readRecipe(join("recipes", name));
  return planRecipe(
    { recipe, version: upstreams[name]!.version, architecture: "x86-64", ...request },
    { web, context, cache },
  );
};

/** Paths of everything but folders. */
const leaves = (tree: ExtensionTree): string[] =>
  [...tree.nodes].filter(([, node]) => node.type !== "directory").map(([path]) => path);

async function textOf(tree: ExtensionTree, path: string): Promise<string> {
  const node = tree.nodes.get(extPath(path));
  if (node?.type !== "file") throw new Error(`${path} is no file`);
  return Buffer.from(node.content.read(0, node.content.size)).toString("utf8");
}

describe("docker", () => {
  const containerd = ["/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/ctr", "/usr/bin/runc"];
  const docker = ["/usr/bin/docker", "/usr/bin/docker-init", "/usr/bin/docker-proxy", "/usr/bin/dockerd"];

  it("takes both halves", async () => {
    const planned = await plan("docker");
    const tree = buildTree(planned.plan, { name: "docker" });
    expect(leaves(tree)).toEqual(expect.arrayContaining([...docker, ...containerd]));
    expect(leaves(tree).filter((path) => path.startsWith("/usr/bin/"))).toHaveLength(8);
    expect(await textOf(tree, "/usr/lib/systemd/system/sockets.target.d/10-docker.socket.conf")).toBe(
      "[Unit]\nUpholds=docker.socket\n",
    );
    expect(await textOf(tree, "/usr/lib/systemd/system/multi-user.target.d/10-containerd.service.conf")).toBe(
      "[Unit]\nUpholds=containerd.service\n",
    );
    expect(planned.reload).toBe(true);
    expect(planned.unverified).toHaveLength(1);
    planned.close();
  });

  it.each([
    { without: "containerd", kept: docker, gone: containerd, enable: "sockets.target.d/10-docker.socket.conf" },
    { without: "docker", kept: containerd, gone: docker, enable: "multi-user.target.d/10-containerd.service.conf" },
  ])("leaves $without out", async ({ without, kept, gone, enable }) => {
    const planned = await plan("docker", { options: { without } });
    const tree = buildTree(planned.plan, { name: "docker" });
    expect(leaves(tree)).toEqual(expect.arrayContaining(kept));
    for (const path of gone) expect(leaves(tree)).not.toContain(path);
    expect(leaves(tree).filter((path) => path.includes(`${without}.`))).toEqual(
      without === "docker" ? ["/usr/lib/sysusers.d/docker.conf"] : [],
    );
    expect(leaves(tree).filter((path) => path.includes(".target.d/"))).toEqual([`/usr/lib/systemd/system/${enable}`]);
    planned.close();
  });
});

describe("kubernetes", () => {
  it("takes programs, CNI plugins and versions", async () => {
    const planned = await plan("kubernetes", { architecture: "arm64" });
    const tree = buildTree(planned.plan, { name: "kubernetes" });
    expect(leaves(tree)).toEqual(expect.arrayContaining(["/usr/bin/kubelet", "/usr/local/bin/cni/bridge"]));
    expect(leaves(tree)).not.toContain("/usr/local/bin/cni/README.md");
    expect(await textOf(tree, "/usr/local/share/kubernetes-version")).toBe("v1.32.2\n");
    expect(await textOf(tree, "/usr/local/share/kubernetes-cni-version")).toBe("v1.6.2\n");
    expect(planned.unverified).toEqual([]);
    planned.close();
  });
});

describe("tailscale", () => {
  it("adjusts upstream's unit to where the program is", async () => {
    const planned = await plan("tailscale", { version: "1.76.6" });
    const tree = buildTree(planned.plan, { name: "tailscale" });
    expect(await textOf(tree, "/usr/lib/systemd/system/tailscaled.service")).toContain(
      "ExecStart=/usr/bin/tailscaled ",
    );
    expect(await textOf(tree, "/usr/lib/systemd/system/tailscaled.service")).not.toContain("/usr/sbin");
    planned.close();
  });
});
