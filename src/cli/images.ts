import { Command } from "commander";
import { newCommand, type OptionRow } from "./option-row.ts";
import { cacheOptions, imageOptions, imageRunOptions, pruneOptions, pullOptions } from "./options.ts";
import type { Session } from "./program.ts";

const pullExamples = `
Examples:
  $ flixwrap pull alpine:latest ./root
  $ flixwrap pull --run 'apk add b3sum' alpine:latest ./root
  $ CMD='apt-get update && apt-get install -y nginx' flixwrap pull debian:12 ./root
`;

/** `flixwrap pull IMAGE FOLDER` */
export function pullCommand(session: Session): Command {
  return newCommand("pull", [...imageOptions, ...imageRunOptions, ...pullOptions], session.env)
    .description("Write an image's root file system as a folder, whole or not at all.")
    .argument("<image>", "any reference that flix takes")
    .argument("<folder>", "the new folder; what is there already is never touched")
    .addHelpText("after", pullExamples)
    .action(async (image: string, folder: string, options: PullFlags) => {
      const { pullImage } = await import("../oci/index.ts");
      const { registry, json = false, ...rest } = options;
      const source =
        registry === undefined || /[:/]/.test(image.split("/")[0]!.replace(/:[\w.-]+$/, ""))
          ? image
          : `${registry}/${image}`;
      const pulled = await pullImage(source, folder, {
        ...rest,
        context: session.context({ json, quiet: false }),
      });
      const { image: found, ...written } = pulled;
      session.terminal.out(
        json
          ? `${JSON.stringify({ reference: found.reference, digest: found.digest, platform: found.platform, ...written })}\n`
          : `${folder}\n`,
      );
    });
}

interface PullFlags {
  readonly platform?: string;
  readonly creds?: string;
  readonly tlsVerify?: boolean;
  readonly caFile?: string;
  readonly cacheDir?: string;
  readonly run?: readonly string[];
  readonly runNetwork?: "host" | "none";
  readonly runCache?: boolean;
  readonly engine?: "docker" | "podman";
  readonly registry?: string;
  readonly json?: boolean;
}

/** `flixwrap cache list|prune|verify` */
export function cacheCommand(session: Session): Command {
  const verb = (
    name: string,
    description: string,
    rows: readonly OptionRow[],
    act: (folder: string, options: CacheFlags) => Promise<readonly string[] | object>,
  ): Command =>
    newCommand(name, [...cacheOptions, ...rows], session.env)
      .description(description)
      .action(async (options: CacheFlags) => {
        const { usualCacheFolder } = await import("../oci/index.ts");
        const result = await act(options.cacheDir ?? usualCacheFolder(session.env), options);
        if (options.json) session.terminal.out(`${JSON.stringify(result)}\n`);
        else for (const line of wordCache(result)) session.terminal.out(`${line}\n`);
      });
  return new Command("cache")
    .description("Look after the cache of layers.")
    .addCommand(
      verb("list", "What is kept, the last used first.", [], async (folder) =>
        (await import("../oci/index.ts")).listCache(folder),
      ),
    )
    .addCommand(
      verb("prune", "Remove what was not used for the longest time.", pruneOptions, async (folder, { maxBytes }) =>
        (await import("../oci/index.ts")).pruneCache(folder, maxBytes === undefined ? {} : { maxBytes }),
      ),
    )
    .addCommand(
      verb("verify", "Hash everything again and remove what is damaged.", [], async (folder, { json = false }) => {
        const { verifyCache } = await import("../oci/index.ts");
        const { checked, damaged } = await verifyCache(folder, session.context({ json, quiet: true }));
        if (damaged.length > 0) session.finish(1);
        return { checked, damaged };
      }),
    );
}

interface CacheFlags {
  readonly cacheDir?: string;
  readonly json?: boolean;
  readonly maxBytes?: number;
}

interface Kept {
  readonly kind: string;
  readonly digest: string;
  readonly bytes: number;
}

function wordCache(result: readonly unknown[] | object): string[] {
  const word = ({ kind, digest, bytes }: Kept): string => `${kind.padEnd(6)} ${String(bytes).padStart(12)} ${digest}`;
  if (Array.isArray(result)) return (result as Kept[]).map(word);
  const { checked, damaged } = result as { readonly checked: number; readonly damaged: readonly Kept[] };
  return [`${checked} checked, ${damaged.length} damaged and removed`, ...damaged.map(word)];
}
