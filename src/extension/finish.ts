import { defined } from "../core/defined.ts";
import { type ExtPath, type RootPath, extPath, isWithin, rootPath } from "../core/paths.ts";
import { readAccounts } from "./host-files/accounts.ts";
import { planEtc } from "./host-files/etc.ts";
import { planGuard } from "./host-files/guard.ts";
import { planSetup } from "./host-files/setup.ts";
import { planState } from "./host-files/state.ts";
import { accountsOfUnits, formatSysusers } from "./host-files/sysusers.ts";
import { formatTmpfiles } from "./host-files/tmpfiles.ts";
import { type Manifest, formatManifest, papersFolder } from "./manifest.ts";
import { type Package, packageUrl } from "./packages/package.ts";
import { readPackages } from "./packages/read.ts";
import { formatCycloneDx, formatSpdx } from "./packages/sbom.ts";
import type { Action, Plan } from "./plan.ts";
import { type Release, planRelease } from "./release.ts";
import { type UpholdsForm, planEnable } from "./units/enable.ts";
import { moveUnitPrograms, planMissingUnits, plannedUnits } from "./units/planned.ts";

/** Everything that is added to a converter's plan, whoever planned it. */
export interface FinishOptions {
  /** extension-release; `reload` is set by itself when units are shipped and it is not given. */
  readonly release: Release;
  /** Units to be started on the host; taken from the root when they are no entries. */
  readonly enable?: readonly string[];
  readonly upholds?: UpholdsForm;
  /** The units are stopped when the extension is taken away ({@link planGuard}). */
  readonly stopOnUnmerge?: boolean;
  /** Paths below /etc of the root. */
  readonly etc?: readonly string[];
  /** Folders in /var of the shipped programs' packages (default true). */
  readonly state?: boolean;
  /** Users and groups that units, state and /etc need (default true). */
  readonly users?: boolean;
  /** Owners are kept in the image: users get the numbers they have in the root. */
  readonly keepOwners?: boolean;
  /** The private folder; what is in it says nothing about state on the host. */
  readonly privateFolder?: ExtPath;
  /** Bills of materials and manifest inside the extension (default true). */
  readonly papers?: boolean;
  readonly manifest: Omit<Manifest, "name" | "packages">;
  /** Seconds since 1970. */
  readonly epoch?: number;
}

/** What {@link finishPlan} adds, for those who want it beside the image, too. */
export interface FinishedPlan extends Plan {
  readonly packages: readonly Package[];
  /** Texts of the bills of materials. */
  readonly spdx: string;
  readonly cycloneDx: string;
}

/**
 * The whole extension: units' programs at their places, enabled units, `/etc` and `/var` by tmpfiles.d, users by
 * sysusers.d, extension-release, and the papers that say where it came from. Pure: reads the root, writes nothing.
 * @throws FlixwrapError of the single steps: `extension-unit`, `extension-etc`, `extension-release`, `extension-name`.
 */
export function finishPlan(plan: Plan, options: FinishOptions): FinishedPlan {
  const { name } = options.release;
  const enable = options.enable ?? [];
  const withUnits: Plan = { ...plan, actions: [...plan.actions, ...planMissingUnits(plan, enable)] };
  const units = plannedUnits(withUnits);
  const packages = readPackages(plan.source);
  const hostFiles = planHostFiles(withUnits, options, packages);
  const enabling = planEnable(enable, (unit) => units.get(unit), options.upholds);
  const release = planRelease({ ...options.release, reload: options.release.reload ?? units.size > 0 });
  const shipped = packagesOf(withUnits.actions, packages);
  const subject = {
    name,
    tool: options.manifest.flixwrap,
    epoch: options.epoch ?? 0,
    packages: shipped,
    ...defined({ version: options.release.versionId, image: options.manifest.image }),
  };
  const papers = { spdx: formatSpdx(subject), cycloneDx: formatCycloneDx(subject) };
  const manifest = { ...options.manifest, name, packages: shipped.map(packageUrl).sort() };
  return {
    source: plan.source,
    warnings: plan.warnings,
    packages: shipped,
    ...papers,
    actions: [
      ...moveUnitPrograms(withUnits),
      ...enabling,
      ...hostFiles,
      release,
      ...(options.papers === false ? [] : planPapers(name, papers, formatManifest(manifest))),
    ],
  };
}

/** tmpfiles.d, sysusers.d, what they copy, and the service that applies them on a live merge. */
function planHostFiles(plan: Plan, options: FinishOptions, packages: ReturnType<typeof readPackages>): Action[] {
  const { name } = options.release;
  const units = plannedUnits(plan);
  const accounts = readAccounts(plan.source);
  const etc = planEtc(plan.source, options.etc ?? [], name, accounts);
  const programs = packagesOf(plan.actions, packages, options.privateFolder);
  const state = planState(
    plan.source,
    options.state === false ? [] : programs.flatMap((one) => packages.foldersOf(one)),
    accounts,
  );
  const kept =
    options.keepOwners === true ? plan.actions.flatMap((action) => ("from" in action ? [action.from] : [])) : [];
  const owners = [...etc.owners, ...state.owners, ...kept];
  const needed = {
    ...accountsOfUnits([...units.values()]),
    uids: owners.map(({ uid }) => uid),
    gids: owners.map(({ gid }) => gid),
  };
  const sysusers = options.users === false ? "" : formatSysusers(needed, accounts, options.keepOwners === true);
  const tmpfiles = formatTmpfiles([...etc.lines, ...state.lines]);
  return [
    ...etc.actions,
    ...planFile(`/usr/lib/sysusers.d/${name}.conf`, sysusers, "users and groups of the units and files"),
    ...planFile(`/usr/lib/tmpfiles.d/${name}.conf`, tmpfiles, "files of /etc and folders of /var on the host"),
    ...planSetup(
      name,
      units.keys(),
      plan.actions.map(({ to }) => to),
      {
        hasUsers: sysusers !== "",
        hasFiles: tmpfiles !== "",
      },
    ),
    ...(options.stopOnUnmerge === true ? planGuard(name, units.keys()) : []),
  ];
}

/** The packages of the root's files among the actions, each once; those in `except` do not count. */
function packagesOf(
  actions: readonly Action[],
  packages: ReturnType<typeof readPackages>,
  except?: ExtPath,
): readonly Package[] {
  const owners = new Set<Package>();
  for (const action of actions) {
    if (except !== undefined && isWithin(action.to, except)) continue;
    // A wrapper stands where the program does in the root.
    const path: RootPath = "from" in action ? action.from.path : rootPath(action.to);
    const owner = packages.ownerOf(path);
    if (owner !== undefined) owners.add(owner);
  }
  return [...owners];
}

function planPapers(name: string, papers: { spdx: string; cycloneDx: string }, manifest: string): Action[] {
  const folder = papersFolder(name);
  return [
    ...planFile(`${folder}/sbom.spdx.json`, papers.spdx, "the packages whose files are shipped (SPDX)"),
    ...planFile(`${folder}/sbom.cdx.json`, papers.cycloneDx, "the packages whose files are shipped (CycloneDX)"),
    ...planFile(`${folder}/manifest.json`, manifest, "where the extension came from"),
  ];
}

function planFile(path: string, content: string, why: string): Action[] {
  if (content === "") return [];
  return [{ kind: "write", to: extPath(path), content: Buffer.from(content), mode: 0o644, why }];
}
