import { existsSync } from "node:fs";
import { join } from "node:path";
import { FlixwrapError } from "../core/errors.ts";
import { parseName } from "../extension/release.ts";
import { writeWhole } from "./cached-files.ts";

/** What a new recipe begins as. */
export type SkeletonKind = "static" | "flix" | "flatwrap";

/** The files of a new recipe, by their path in its folder. */
export function planSkeleton(name: string, kind: SkeletonKind = "static"): Readonly<Record<string, string>> {
  return {
    "recipe.yaml": `# yaml-language-server: $schema=https://raw.githubusercontent.com/OWNER/flixwrap/main/docs/recipe.schema.json
# Every key is explained in docs/recipes.md; \`flixwrap recipe check ${name}\` looks this over.
summary: What ${name} is, in one line
homepage: https://example.org/${name}

${bodies[kind](name)}
# Units in files/ that start with the merge; their [Install] says with which target.
# enable: [${name}.service]
`,
    [`files/usr/share/${name}/README.md`]: `Everything below files/ goes into the extension as it is. An extension can hold /usr and /opt only;
never ship /usr/sbin: on most hosts that is a link, which a folder of that name would hide.
`,
  };
}

const bodies: Readonly<Record<SkeletonKind, (name: string) => string>> = {
  static: (name) => `# Where versions come from. Also: gitlab, page with match, document with select, hashicorp, fixed.
versions:
  github: OWNER/${name}
  prefix: v # versions are written v1.2.3 here; {number} is 1.2.3

# {goarch} is amd64 or arm64, {uname} is x86_64 or aarch64, {arch} is x86-64 or arm64.
parts:
  - download: https://github.com/OWNER/${name}/releases/download/{version}/${name}_{number}_linux_{goarch}.tar.gz
    # The digest that GitHub knows. Also: { sums: "{url}.sha256" } for a checksum file, or instead of verify
    # unverified: the reason why nothing can be checked
    verify: github
    strip: 1 # leading folders to take off
    files:
      ${name}: /usr/bin/ # PATTERN: FOLDER/ or PATTERN: /NEW/PATH
`,
  flix: (name) => imageBody(name, "flix", ""),
  flatwrap: (name) =>
    imageBody(
      name,
      "flatwrap",
      `
    with: { etc: chroot } # the options of \`flixwrap flatwrap\`, by their names`,
    ),
};

const imageBody = (
  name: string,
  converter: string,
  more: string,
): string => `# The versions the image's distribution has.
versions:
  image: alpine:3.21
  run: apk update -q && apk list ${name}
  match: ^${name}-([0-9.]+)-r[0-9]+

parts:
  - image: alpine:3.21
    run: apk add --no-cache "${name}~{number}"
    package: ${name} # refuse another version than the one asked for
    convert: ${converter}
    entries: [/usr/bin/${name}]${more}
`;

/**
 * Writes a new recipe to `FOLDER/NAME`.
 * @throws FlixwrapError `recipe-exists` rather than touch anything that is there
 */
export function writeSkeleton(folder: string, name: string, kind: SkeletonKind = "static"): string[] {
  const goal = join(folder, parseName(name));
  if (existsSync(goal))
    throw new FlixwrapError("recipe-exists", { what: "there is something of this name already", where: goal });
  return Object.entries(planSkeleton(name, kind)).map(([path, text]) => {
    writeWhole(join(goal, path), text);
    return join(goal, path);
  });
}
