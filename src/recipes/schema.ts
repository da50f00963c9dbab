/**
 * The JSON Schema of `recipe.yaml`, published as docs/recipe.schema.json (a test keeps the two equal), so that
 * editors complete a recipe and explain its keys.
 */

const text = (description: string, more: object = {}) => ({ type: "string", minLength: 1, description, ...more });
const when = text(
  "Only if this holds: `NAME` (set), `!NAME`, `NAME OPERATOR VALUE` with == != < <= > >= (the last four in version order), joined by ` and `.",
);
const object = (description: string, required: string[], properties: object) => ({
  type: "object",
  description,
  required,
  additionalProperties: false,
  properties,
});
const mapOf = (value: object, description: string) => ({
  type: "object",
  minProperties: 1,
  description,
  additionalProperties: value,
});
const listOf = (items: object, description: string) => ({ type: "array", minItems: 1, description, items });
const url = (description: string) => text(description, { pattern: "^https?://" });
const absolute = { type: "string", pattern: "^/(usr|opt)/", description: "A path below /usr or /opt." };
const placeName = "^[a-z][a-z0-9-]*$";

const document = {
  document: url("A JSON or YAML file; `{branch}` in it is filled from `branches`."),
  select: text("Where the names are in it: `a.b`, `[]` for every element of a list, `{}` for the keys of a map."),
  branches: object("The values for `{branch}`: the matches on a page.", ["page", "match"], {
    page: url("The page."),
    match: text("A regular expression; its first group is a branch."),
    from: text("The oldest branch wanted."),
  }),
};

const versionRules = object(
  "Where versions come from and how they are ordered; newest first by real version order.",
  [],
  {
    github: text("Releases of this GitHub repository; drafts and pre-releases are left out.", {
      pattern: "^[^/ ]+/[^/ ]+$",
    }),
    list: { enum: ["releases", "tags"], description: "With `github`: releases (default) or all tags." },
    gitlab: text("Tags of a GitLab project: HOST/PROJECT-NUMBER.", { pattern: "^[^/ ]+/[^ ]+$" }),
    page: url("A page (a directory listing, say) with the versions in it; needs `match`."),
    ...document,
    hashicorp: text("Releases of a HashiCorp product, the freely licensed ones."),
    image: text("An image in which `run` prints the versions; needs `match`."),
    run: text("With `image`: the command."),
    fixed: listOf({ type: "string" }, "The versions themselves."),
    prefix: {
      enum: ["", "v"],
      description: "`v`: versions are written with a leading v in this recipe. {number} is without it.",
    },
    match: text(
      "A regular expression on each name; its first group is the version, names that do not match are dropped.",
    ),
    except: text("Names that match this are dropped."),
    pattern: text("What a version without its prefix looks like, the whole of it; default: numbers and dots."),
    from: text("The oldest version offered."),
    latest: object("Which versions `latest` means; without it, the newest one.", ["per"], {
      per: { enum: ["major", "minor"], description: "The newest version of each branch." },
      keep: { type: "integer", minimum: 1, description: "Only of this many newest branches." },
      supported: object("Only of the branches named here.", ["document", "select"], document),
    }),
  },
);

const check = {
  anyOf: [
    { const: "github", description: "The digest that GitHub's API gives for the release's asset." },
    object("A checksum file.", ["sums"], {
      sums: text(
        "Its address: beside the artifact ({url}.sha256) or for the whole release, sha256 or sha512, any usual shape.",
      ),
      entry: text("The artifact's name in it; default: the last part of its address."),
    }),
    object("Digests written here.", ["digests"], {
      digests: mapOf(
        mapOf({ type: "string", pattern: "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$" }, "Architecture -> digest."),
        "Version -> architecture -> digest.",
      ),
    }),
  ],
};
const verification = {
  verify: {
    description: "How the download is checked; of a list, the first that upstream offers. A mismatch always stops.",
    anyOf: [...check.anyOf, listOf(check, "Alternatives, the best first.")],
  },
  unverified: text("Instead of `verify`, the reason why nothing can be checked; users are told."),
};

const placement = object("Files that match the pattern.", ["to"], {
  to: {
    ...absolute,
    description: "Ends in /: a folder; names are kept relative to the pattern's fixed part. Else the one file's path.",
  },
  when,
  mode: { type: ["string", "integer"], description: "Permission bits in octal: 755." },
  except: listOf({ type: "string" }, "Patterns of files to leave out."),
  optional: { type: "boolean", description: "Finding nothing is no error." },
  replace: mapOf({ type: "string" }, "Text replaced in these files: old -> new."),
});
const files = mapOf(
  { anyOf: [absolute, placement, listOf({ anyOf: [absolute, placement] }, "Several places.")] },
  "Pattern on paths in the archive or image -> where the files go.",
);

const downloadPart = object("A download.", ["download"], {
  name: text("For messages."),
  when,
  download: url("Its address, with {version}, {number}, {goarch}, {uname} … in it."),
  ...verification,
  archive: { enum: ["tar", "zip", "deb", "file"], description: "What it is; default: by the address's ending." },
  inside: {
    description: "Archives inside the archive that hold the files (packages in a bundle), as patterns.",
    anyOf: [{ type: "string" }, listOf({ type: "string" }, "Several.")],
  },
  strip: { type: "integer", minimum: 0, maximum: 64, description: "Leading folders taken off every path." },
  files,
  to: { ...absolute, description: "For a plain file: where it goes, mode 755." },
  mode: { type: ["string", "integer"], description: "With `to`: other permission bits." },
});
const imagePart = object("Something from an image.", ["image"], {
  name: text("For messages."),
  when,
  image: text("An image reference: alpine:3.21."),
  run: text("A command run in it first, by its shell."),
  inputs: mapOf(
    object("A download.", ["download"], { download: url("Its address."), ...verification }),
    "Downloads put into the root before the command runs: path -> download.",
  ),
  package: text("A package of the image that must have the version asked for."),
  convert: {
    enum: ["flix", "flatwrap"],
    description: "How the entries are converted; absent: only `files` are taken.",
  },
  entries: listOf({ type: "string" }, "What to convert: PATH or SOURCE:TARGET."),
  with: { type: "object", description: "Options of the converter, as on the command line." },
  files,
});

/** The JSON schema of `recipe.yaml`: it checks recipes, and docs and editors are filled from it. */
export const recipeSchema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "flixwrap recipe",
  ...object("How one system extension is made from upstream's artifacts.", ["summary"], {
    $schema: { type: "string" },
    summary: text("One line for lists."),
    homepage: url("Where its users read about it."),
    license: text("SPDX expression of what is shipped."),
    notes: text("What a user has to know."),
    needs: listOf({ type: "string" }, "Other extensions it needs or works with."),
    versions: versionRules,
    architectures: {
      ...mapOf(
        { type: "object", additionalProperties: { type: "string" } },
        "The architectures there are, each with extra names for templates.",
      ),
      propertyNames: { enum: ["x86-64", "arm64", "x86", "arm", "riscv64", "ppc64-le", "s390x", "loongarch64"] },
    },
    options: {
      ...mapOf(
        object("An option of this recipe.", ["help"], {
          help: text("One line."),
          default: { type: "string", description: "Its value when not given." },
          choices: listOf({ type: "string" }, "The values allowed."),
          required: { type: "boolean", description: "Must be given." },
          versions: versionRules,
          environment: mapOf(
            { type: "string" },
            "Environment variables that set it: variable -> value, `*` for the variable's own.",
          ),
        }),
        "Options of this recipe: --NAME VALUE.",
      ),
      propertyNames: { pattern: placeName },
    },
    variables: {
      ...mapOf(
        listOf(
          object("A possible value; the first row that holds counts.", [], {
            when,
            value: { type: "string", description: "The value." },
            page: url("A file that has it."),
            match: text("With `page`: a regular expression; its first group is the value."),
          }),
          "Possible values.",
        ),
        "Names for templates, worked out from the options and the version.",
      ),
      propertyNames: { pattern: placeName },
    },
    parts: listOf(
      // oxlint-disable-next-line unicorn/no-thenable -- `then` is JSON Schema's word
      { type: "object", if: { required: ["image"] }, then: imagePart, else: downloadPart },
      "What it is made of.",
    ),
    links: { ...mapOf({ type: "string", minLength: 1 }, "Symlinks: path -> target."), propertyNames: absolute },
    text: { ...mapOf({ type: "string" }, "Small generated files: path -> text."), propertyNames: absolute },
    drop: listOf(
      object("Taken out again.", ["paths"], {
        paths: listOf(text("A pattern on the extension's paths."), "Patterns."),
        when,
      }),
      "What is taken out of the finished plan.",
    ),
    enable: listOf(
      {
        anyOf: [text("A unit."), object("A unit.", ["unit"], { unit: text("Its name."), when })],
      },
      "Units that start with the merge.",
    ),
    reload: { type: "boolean", description: "Whether systemd is reloaded on merge; default: if units are shipped." },
    "host-libraries": listOf(
      text("A library's name, libstdc++.so.6; glibc stands for the loader and all libraries of it."),
      "What upstream's programs take from the host; without this, a library that is not in the extension is an error.",
    ),
    sysupdate: object("Update files.", [], {
      branch: { enum: ["major", "minor"], description: "A second one that stays on the branch of the version." },
    }),
  }),
} as const;
