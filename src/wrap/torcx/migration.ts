import { madeBy } from "../../extension/publish/sysupdate.ts";
import type { TorcxPlan } from "../torcx.ts";

/** A link that a host needs besides the extension itself. */
export interface MigrationLink {
  readonly path: string;
  readonly target: "/dev/null";
  readonly why: string;
}

/** Masks of what stood in Torcx's place: Flatcar's own extensions, and the generator that set Torcx up. */
export function migrationLinks({ replaces }: Pick<TorcxPlan, "replaces">): readonly MigrationLink[] {
  return [
    ...replaces.map((name) => ({
      path: `/etc/extensions/${name}.raw`,
      target: "/dev/null" as const,
      why: `${name} holds the same programs`,
    })),
    {
      path: "/etc/systemd/system-generators/torcx-generator",
      target: "/dev/null",
      why: "it unpacks Torcx images at boot",
    },
  ];
}

/** What is to be done on a host that moves from Torcx to the extension, one line each. */
export function wordMigration(plan: Pick<TorcxPlan, "replaces" | "enabled">): string[] {
  return [
    ...migrationLinks(plan).map(({ path, target, why }) => `mask: ln -sfn ${target} ${path} (${why})`),
    "remove /etc/torcx and /var/lib/torcx",
    "remove drop-ins below /etc/systemd/system that use TORCX_ variables, torcx.target or /run/torcx: `flixwrap torcx --scan /` lists them",
    plan.enabled.length === 0
      ? "no unit is started by itself, as in the image: --enable UNIT"
      : `started by the extension: ${plan.enabled.join(", ")}`,
  ];
}

/** The links as a Butane config (Flatcar, 1.0.0), to be merged into a machine's own. */
export function formatMigrationButane(plan: Pick<TorcxPlan, "replaces" | "enabled">): string {
  return [
    madeBy,
    ...wordMigration(plan)
      .filter((line) => !line.startsWith("mask: "))
      .map((line) => `# ${line}`),
    "variant: flatcar",
    "version: 1.0.0",
    "storage:",
    "  links:",
    ...migrationLinks(plan).flatMap(({ path, target, why }) => [
      `    # ${why}`,
      `    - path: ${path}`,
      `      target: ${target}`,
      "      overwrite: true",
      "      hard: false",
    ]),
    "",
  ].join("\n");
}
