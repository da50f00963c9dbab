import { Ajv, type ErrorObject } from "ajv";
import { type Document as YamlDocument, LineCounter, isMap, isNode, isPair, parseDocument } from "yaml";
import { FlixwrapError } from "../core/errors.ts";
import { editDistance } from "./edit-distance.ts";
import type { RecipeFile } from "./format.ts";
import { normaliseRecipe } from "./normalise.ts";
import { recipeSchema } from "./schema.ts";

// `strictTypes` would refuse the schema's `type: [string, integer]`.
const validate = new Ajv({ allErrors: true, strictTypes: false }).compile(recipeSchema);

/** A recipe is a page or two; anything larger is a mistake. In bytes. */
const largestRecipe = 1 << 20;

/**
 * The recipe in `text`; `where` is its file, for messages. All findings are told at once, each with line and column.
 * @throws FlixwrapError `recipe-yaml` (not YAML), `recipe-invalid` (not a recipe)
 */
export function parseRecipe(text: string, where: string): RecipeFile {
  if (text.length > largestRecipe) {
    throw new FlixwrapError("recipe-yaml", { what: "the recipe is too large", where, wanted: "at most 1 MiB" });
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${where}:${line}:${col}`;
  };
  const refused = (at: string, { message }: Error): FlixwrapError =>
    new FlixwrapError("recipe-yaml", { what: "this is not YAML", where: at, got: message.split("\n")[0]! });
  const [first] = document.errors;
  if (first !== undefined) throw refused(place(first.pos[0]), first);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 50 });
  } catch (error) {
    // An alias of nothing, or of so much that it would fill the memory.
    throw refused(where, error as Error);
  }
  const findings = validate(value) ? [] : [...describe(validate.errors ?? [], document)];
  if (findings.length === 0) {
    const recipe = normaliseRecipe(value);
    if (recipe.problems.length === 0) return recipe.file;
    findings.push(...recipe.problems.map(({ path, message }) => ({ offset: offsetOf(document, path), message })));
  }
  const items = [...new Set(findings.map(({ offset, message }) => `${place(offset)}: ${message}`))];
  if (items.length === 1) throw new FlixwrapError("recipe-invalid", { what: items[0]! });
  throw new FlixwrapError("recipe-invalid", { what: `${items.length} mistakes in the recipe`, where, items });
}

/** One clause per mistake; what an enclosing `anyOf` adds to the errors of its branches is left out. */
function* describe(
  errors: readonly ErrorObject[],
  document: YamlDocument,
): Iterable<{ offset: number; message: string }> {
  const wrappers = new Set(["anyOf", "if", "propertyNames"]);
  const depth = (error: ErrorObject): number => error.instancePath.split("/").length;
  for (const error of errors) {
    if (wrappers.has(error.keyword)) continue;
    // Of an anyOf's branches only the one that got deepest says anything about what the author meant.
    const alternative = /^(.*\/anyOf)\/\d+\//.exec(error.schemaPath)?.[1];
    const rivals = errors.filter(
      (other) => alternative !== undefined && other.schemaPath.startsWith(alternative) && !wrappers.has(other.keyword),
    );
    if (rivals.some((other) => better(other, error, depth))) continue;
    yield locate(error, document);
  }
}

/** Whether `other` is the more telling of two errors from branches of one `anyOf`. */
function better(other: ErrorObject, error: ErrorObject, depth: (error: ErrorObject) => number): boolean {
  if (!other.instancePath.startsWith(error.instancePath)) return false;
  if (depth(other) !== depth(error)) return depth(other) > depth(error);
  const telling = (one: ErrorObject): number =>
    ["const", "type", "pattern", "required", "additionalProperties"].indexOf(one.keyword);
  return telling(other) > telling(error);
}

function locate(error: ErrorObject, document: YamlDocument): { offset: number; message: string } {
  const path = error.instancePath
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const params = error.params as Record<string, unknown>;
  const name = path.at(-1) ?? "the recipe";
  if (error.keyword === "additionalProperties") {
    const key = String(params["additionalProperty"]);
    return {
      offset: offsetOf(document, [...path, key], true),
      message: `unknown key ${JSON.stringify(key)}${likely(key, error)}`,
    };
  }
  if (error.propertyName !== undefined) {
    const key = error.propertyName;
    return { offset: offsetOf(document, [...path, key], true), message: `${JSON.stringify(key)} ${error.message}` };
  }
  const allowed = params["allowedValues"];
  const said = Array.isArray(allowed) ? `must be one of ${allowed.join(", ")}` : error.message;
  return { offset: offsetOf(document, path), message: `${name}: ${said}` };
}

/** `; did you mean "verify"?` when a key of the schema is one or two letters away. */
function likely(key: string, error: ErrorObject): string {
  const parent = error.parentSchema as { properties?: object } | undefined;
  const known = Object.keys(parent?.properties ?? propertiesAt(error.schemaPath));
  const near = known.find((candidate) => editDistance(candidate, key) <= 2);
  return near === undefined ? `; known are ${known.join(", ")}` : `; did you mean ${JSON.stringify(near)}?`;
}

/** The properties that the schema allows at `#/a/b/additionalProperties`. */
function propertiesAt(schemaPath: string): object {
  let schema: unknown = recipeSchema;
  for (const part of schemaPath.split("/").slice(1, -1)) {
    schema = (schema as Record<string, unknown> | undefined)?.[part.replaceAll("~1", "/")];
  }
  return (schema as { properties?: object } | undefined)?.properties ?? {};
}

/** Where the value (or the key) at `path` begins; its nearest parent when it is not there. */
function offsetOf(document: YamlDocument, path: readonly (string | number)[], key = false): number {
  const parent = path.length === 0 ? undefined : document.getIn(path.slice(0, -1), true);
  if (key && isMap(parent)) {
    const pair = parent.items.find((item) => isPair(item) && String(item.key) === String(path.at(-1)));
    if (isNode(pair?.key)) return pair.key.range?.[0] ?? 0;
  }
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}
