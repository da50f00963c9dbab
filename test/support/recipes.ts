import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Context, quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import type { ExtensionTree } from "../../src/extension/tree.ts";
import { type MemoryEntry, memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import type { Images } from "../../src/recipes/images.ts";
import { type PlannedRecipe, planRecipe, type Ports, type RecipeRequest } from "../../src/recipes/plan.ts";
import { readRecipe } from "../../src/recipes/recipe.ts";
import { openWeb } from "../../src/recipes/web.ts";
import { standIn, type StandInArchitecture } from "./stand-in.ts";
import { upstreams } from "./upstreams.ts";
import type { WebMirror } from "./web-mirror.ts";

/** The engine's way to a loopback mirror, with a cache of its own. */
export function portsTo(mirror: WebMirror, cache: string, context: Context = quietContext()): Omit<Ports, "images"> {
  return { web: openWeb({ cache, mirrors: [{ from: "*", to: mirror.base }], pause: 1 }, context), context, cache };
}

/** A shipped recipe planned for the version that its upstream in the table serves. */
export function planShipped(
  name: string,
  ports: Omit<Ports, "images">,
  request: Partial<RecipeRequest> = {},
): Promise<PlannedRecipe> {
  const { version, options = {} } = upstreams[name]!;
  const recipe = readRecipe(join("recipes", name));
  return planRecipe(
    { recipe, version, architecture: "x86-64", options, ...request },
    { ...ports, images: imagesOf(name) },
  );
}

/** Images as the table has them: as they are after the recipe's command has run. */
export const imagesOf = (name: string): Images => ({
  open({ image, architecture, run, inputs }) {
    const members = upstreams[name]!.images?.[image];
    if (members === undefined) throw new Error(`${name} has no business with ${image}`);
    for (const input of inputs) if (!existsSync(input.path)) throw new Error(`${input.path} is not there`);
    if (run === undefined) throw new Error(`${name} runs nothing in ${image}`);
    const entries = Object.entries(members).map(([path, member]): [string, MemoryEntry] => {
      if (member === "program")
        return [`/${path}`, { content: standIn(architecture.systemd as StandInArchitecture), mode: 0o755 }];
      if ("link" in member) return [`/${path}`, { target: member.link }];
      return [`/${path}`, { content: "text" in member ? member.text : "", mode: 0o644 }];
    });
    return Promise.resolve({
      root: memoryRootfs(Object.fromEntries(entries), image),
      digest: `sha256:${"a".repeat(64)}`,
      close: () => undefined,
    });
  },
});

/** Paths of everything but folders. */
export const leavesOf = (tree: ExtensionTree): string[] =>
  [...tree.nodes].filter(([, node]) => node.type !== "directory").map(([path]) => path);

export function textOf(tree: ExtensionTree, path: string): string {
  const node = tree.nodes.get(extPath(path));
  if (node?.type !== "file") throw new Error(`${path} is no file`);
  return Buffer.from(node.content.read(0, node.content.size)).toString("utf8");
}
