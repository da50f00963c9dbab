/**
 * Values from a JSON or YAML document: `a.b` goes into maps, `[]` takes every element of a list, `{}` the keys of
 * a map. What is not there selects nothing.
 */
export function selectValues(document: unknown, path: string): string[] {
  const steps = path.match(/[^.[\]{}]+|\[\]|\{\}/g) ?? [];
  let found: unknown[] = [document];
  for (const step of steps) found = found.flatMap((value) => take(value, step));
  return found.filter((value) => typeof value === "string" || typeof value === "number").map(String);
}

function take(value: unknown, step: string): unknown[] {
  if (step === "[]") return Array.isArray(value) ? value : [];
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
  if (step === "{}") return Object.keys(value);
  return Object.hasOwn(value, step) ? [(value as Record<string, unknown>)[step]] : [];
}
