import { FlixwrapError } from "../../core/errors.ts";
import { type RootPath, isWithin, normalise, parentOf, rootPath } from "../../core/paths.ts";
import type { RootNode } from "../../oci/rootfs.ts";
import { hierarchies } from "../tree.ts";
import { type Finding, type Severity, found } from "./finding.ts";
import { afterUsrMerge, hostFolders, libraryFolders } from "./hosts.ts";
import { octal } from "./rules-modes.ts";
import type { Subject } from "./subject.ts";

/** Only /usr and /opt are merged; /usr itself must be a folder (systemd#31523). */
export function* checkOutside({ nodes, rootfs }: Subject): Iterable<Finding> {
  for (const name of rootfs.list(rootPath("/"))) {
    const path = rootPath(name);
    if (!hierarchies.some((top) => top === path)) yield found("outside", "error", path);
  }
  for (const node of nodes)
    if (hierarchies.some((top) => top === node.path) && node.type !== "directory")
      yield found("outside", "error", node.path, { type: node.type });
}

/** A real folder where a host has a link: the link and what it shows are gone after the merge. */
export function* checkShadowedLinks({ nodes, hosts, chosen, host }: Subject): Iterable<Finding> {
  for (const { path, type } of nodes) {
    if (type === "symlink") continue;
    const real = host?.lookup(path);
    if (real?.type === "symlink")
      yield found("shadowed-link", "error", path, { hosts: "the given host", target: real.target ?? "" });
    const named = hosts.filter(({ links }) => links[path] !== undefined);
    if (named.length === 0 || host !== undefined) continue;
    // Where nobody named a host, it is an error if several kinds of host lose the link, and a warning if one does.
    const severity: Severity = chosen || named.length > 1 ? "error" : "warning";
    const target = named[0]!.links[path]!;
    yield found("shadowed-link", severity, path, { hosts: named.map(({ name }) => name).join(", "), target });
  }
}

/** Anything but a folder where every host has one: merged, it takes that folder's place with all that is in it. */
export function* checkShadowedFolders({ nodes, host }: Subject): Iterable<Finding> {
  if (host !== undefined) return; // and then every file of it is compared
  for (const { path, type } of nodes)
    if (type !== "directory" && hostFolders.test(path)) yield found("shadowed-folder", "error", path, { type });
}

/** os-release makes systemd refuse the image (since 250). */
export function* checkOsRelease({ rootfs }: Subject): Iterable<Finding> {
  for (const path of ["/usr/lib/os-release", "/etc/os-release"].map(rootPath))
    if (rootfs.lookup(path) !== undefined) yield found("os-release", "error", path);
}

/** Libraries that every program of a host maps; a second copy in the host's way decides over the host. */
const coreLibrary =
  /^(libc|libm|libdl|libpthread|librt|libresolv|libgcc_s|libstdc\+\+|libcrypt|libcrypto|libssl|libz|libsystemd|libselinux|libmount|libblkid|libcap|libpam|libnss_.*)\.so\.\d/;
const loaderName = /^ld(64)?(-linux.*|-musl-.*)?\.so(\.\d+)+$/;

/** Loaders and libraries where the host's own loader looks. */
export function* checkHostLibraries({ nodes, host }: Subject): Iterable<Finding> {
  for (const { path, type } of nodes) {
    if (type !== "file" && type !== "symlink") continue;
    const folder = parentOf(path);
    if (!libraryFolders.some((pattern) => pattern.test(folder))) continue;
    const name = path.slice(folder.length + 1);
    if (loaderName.test(name)) yield found("host-loader", "error", path);
    else if (/\.so(\.|$)/.test(name)) {
      const isHosts = coreLibrary.test(name) || host?.lookup(path) !== undefined;
      yield found("host-library", isHosts ? "error" : "warning", path);
    }
  }
}

/** Whatever else of a given host the extension would replace. */
export function* checkShadowedFiles({ nodes, host }: Subject): Iterable<Finding> {
  if (host === undefined) return;
  for (const { path, type, target, mode } of nodes) {
    const real = host.lookup(path);
    if (real === undefined) continue;
    if (real.type === "directory" && type === "directory") {
      // The folders that overlays are mounted on stay the host's. Owners are not compared: the given root may be a copy.
      if (real.mode !== mode && !hierarchies.some((top) => top === path))
        yield found("shadowed-mode", "warning", path, { mode: octal(mode), real: octal(real.mode) });
      continue;
    }
    if (real.type === "symlink" && (type !== "symlink" || real.target === target)) continue;
    yield found("shadowed-file", real.type === type ? "warning" : "error", path, { type: real.type });
  }
}

/**
 * Two names of one folder that differ by case alone: one of them is lost where names have no case. What an image has
 * in a root of its own is as the image has it.
 */
export function* checkCase({ nodes, privateRootOf }: Subject): Iterable<Finding> {
  const seen = new Map<string, RootPath>();
  for (const { path } of nodes) {
    if (privateRootOf(path) !== undefined) continue;
    const key = `${parentOf(path)}\0${path.toLowerCase()}`;
    const other = seen.get(key);
    if (other !== undefined) yield found("case", "warning", path, { other });
    seen.set(key, path);
  }
}

/** Links that lead nowhere, out of the extension, or in circles. */
export function* checkLinks(subject: Subject): Iterable<Finding> {
  for (const node of subject.nodes) {
    if (node.type !== "symlink" || subject.privateRootOf(node.path) !== undefined) continue;
    const finding = checkLink(node, subject);
    if (finding !== undefined) yield finding;
  }
}

/** `/dev/null` masks a unit; state and configuration stand where the host keeps them. */
const hostPlaces = ["/etc", "/var", "/run", "/dev", "/proc", "/sys"];

function checkLink(node: RootNode, { rootfs, host }: Subject): Finding | undefined {
  const target = node.target ?? "";
  try {
    if (rootfs.resolve(node.path) !== undefined) return undefined;
  } catch (error) {
    if (error instanceof FlixwrapError && error.code === "oci-link-loop")
      return found("link-loop", "error", node.path, { target });
    throw error;
  }
  const lexical = rootPath(normalise(target.startsWith("/") ? target : `${parentOf(node.path)}/${target}`));
  const merged = rootPath(afterUsrMerge(lexical));
  if (hierarchies.some((top) => isWithin(merged, top))) {
    if (merged !== lexical && rootfs.resolve(merged) !== undefined) return undefined;
    if (host === undefined) return found("link-dangling", "warning", node.path, { target });
    return resolves(host, merged) ? undefined : found("link-dangling", "error", node.path, { target });
  }
  const isKnown = hostPlaces.some((place) => isWithin(lexical, place));
  if (lexical === "/dev/null") return undefined;
  return found("link-outside", isKnown ? "note" : "error", node.path, { target });
}

function resolves(host: Subject["rootfs"], path: RootPath): boolean {
  try {
    return host.resolve(path) !== undefined;
  } catch {
    return false;
  }
}
