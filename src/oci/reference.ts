import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { parseDigest, type Digest } from "./digest.ts";

/** Where an image comes from. Each kind has a prefix of its own; without one it is a registry's or a path. */
export type Reference =
  | RegistryReference
  /** A folder of blobs and an `index.json` (OCI image layout); `name` picks one of several images. */
  | { readonly kind: "oci"; readonly path: string; readonly name?: string }
  /** The same in a tar file. */
  | { readonly kind: "oci-archive"; readonly path: string; readonly name?: string }
  /** What `docker save` writes. */
  | { readonly kind: "docker-archive"; readonly path: string; readonly name?: string }
  /** An unpacked root file system (or what `skopeo copy … dir:` writes, told by its `version` file). */
  | { readonly kind: "dir"; readonly path: string }
  /** A tar of a root file system, plain or compressed. */
  | { readonly kind: "tar"; readonly path: string }
  /** The same on standard input. */
  | { readonly kind: "stdin" }
  /** A path without prefix: what it is shows when it is opened. */
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "docker-daemon" | "podman"; readonly name: string };

/** An image of a registry. */
export interface RegistryReference {
  readonly kind: "registry";
  /** Host with an optional port, as Docker normalises it: `docker.io`, `localhost:5000`. */
  readonly registry: string;
  /** `library/alpine`. */
  readonly repository: string;
  /** `latest` when neither tag nor digest was given. */
  readonly tag?: string;
  /** Wins over the tag. */
  readonly digest?: Digest;
}

/**
 * Reads an image's name as a user writes it.
 * @throws FlixwrapError `oci-bad-reference`.
 */
export function parseReference(text: string): Reference {
  if (text === "-") return { kind: "stdin" };
  const prefix = /^([a-z-]+):(?!\d+(\/|$))/.exec(text)?.[1];
  const rest = text.slice((prefix?.length ?? -1) + 1);
  switch (prefix) {
    case "docker":
      if (rest.startsWith("//")) return parseRegistryReference(rest.slice(2), text);
      break;
    case "oci":
    case "oci-archive":
    case "docker-archive":
      return { kind: prefix, ...splitName(rest, text) };
    case "dir":
      return { kind: prefix, path: nonEmpty(rest, text) };
    case "tar":
      return rest === "-" ? { kind: "stdin" } : { kind: prefix, path: nonEmpty(rest, text) };
    case "docker-daemon":
    case "podman":
      return { kind: prefix, name: nonEmpty(rest, text) };
    case undefined:
    default:
  }
  if (/^(\/|\.{1,2}(\/|$))/.test(text) || text.endsWith("/")) return { kind: "path", path: text };
  return parseRegistryReference(text, text);
}

/** The reference in full, as it is shown to people and accepted by {@link parseReference}. */
export function wordReference(reference: Reference): string {
  if (reference.kind === "registry") {
    const { registry, repository, tag, digest } = reference;
    return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
  }
  if (reference.kind === "stdin") return "-";
  if (reference.kind === "path") return reference.path;
  const place = "path" in reference ? reference.path : undefined;
  return [reference.kind, place, "name" in reference ? reference.name : undefined]
    .filter((part) => part !== undefined)
    .join(":");
}

const badReference = (text: string, got: string, hint?: string): FlixwrapError =>
  new FlixwrapError("oci-bad-reference", {
    what: "not the name of an image",
    where: text || "(empty)",
    got,
    ...defined({ hint }),
  });

function nonEmpty(path: string, text: string): string {
  if (path === "" || path.includes("\0")) throw badReference(text, "no path");
  return path;
}

/** `PATH[:NAME]`; a path may not hold a colon, a name may (`docker.io/library/alpine:3`). */
function splitName(rest: string, text: string): { path: string; name?: string } {
  const colon = rest.indexOf(":");
  if (colon === -1) return { path: nonEmpty(rest, text) };
  const name = rest.slice(colon + 1);
  return { path: nonEmpty(rest.slice(0, colon), text), ...(name !== "" && { name }) };
}

// The grammar of github.com/distribution/reference.
const domainPart = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const domain = new RegExp(`^(?:${domainPart}(?:\\.${domainPart})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const pathPart = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const repositoryPath = new RegExp(`^${pathPart}(?:/${pathPart})*$`);
const tagPattern = /^\w[\w.-]{0,127}$/;
const MAX_REPOSITORY = 255;

function parseRegistryReference(name: string, text: string): RegistryReference {
  const at = name.indexOf("@");
  const digest = at === -1 ? undefined : parseDigest(name.slice(at + 1));
  const named = at === -1 ? name : name.slice(0, at);
  const { registry, remainder } = splitDomain(named);
  const colon = remainder.indexOf(":");
  const tag = colon === -1 ? undefined : remainder.slice(colon + 1);
  const path = colon === -1 ? remainder : remainder.slice(0, colon);

  if (!domain.test(registry)) throw badReference(text, `the registry ${registry}`);
  if (/[A-Z]/.test(path)) throw badReference(text, `the repository ${path}`, "repository names are lower case");
  if (!repositoryPath.test(path)) throw badReference(text, path === "" ? "no repository" : `the repository ${path}`);
  if (path.length > MAX_REPOSITORY) throw badReference(text, `a repository of ${path.length} characters`);
  if (tag !== undefined && !tagPattern.test(tag)) throw badReference(text, `the tag ${tag || "''"}`);
  if (/^[a-f0-9]{64}$/.test(named)) throw badReference(text, "64 hexadecimal digits", "a digest follows @sha256:");

  const repository = registry === "docker.io" && !path.includes("/") ? `library/${path}` : path;
  const resolvedTag = tag ?? (digest === undefined ? "latest" : undefined);
  return {
    kind: "registry",
    registry,
    repository,
    ...defined({ tag: resolvedTag, digest }),
  };
}

/** Docker's rule: the first part is a host when it has a dot, a colon or capitals, or is `localhost`. */
function splitDomain(name: string): { registry: string; remainder: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, slash);
  const isHost = slash !== -1 && (/[.:A-Z]/.test(first) || first === "localhost");
  if (!isHost) return { registry: "docker.io", remainder: name };
  return { registry: first === "index.docker.io" ? "docker.io" : first, remainder: name.slice(slash + 1) };
}
