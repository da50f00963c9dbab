import { printable } from "../../core/errors.ts";
import { type ExplainedFile, type Explanation, wordPackage, wordSize } from "./explanation.ts";
import { wordNeedRule } from "./words.ts";

/** The explanation as a graph in Graphviz's language: files as boxes, needs as arrows, packages as frames. */
export function formatDot({ image, files, asked }: Explanation): string {
  const ids = new Map(files.map(({ path }, index) => [path, `f${index}`]));
  const roots = new Set(asked.flatMap((one) => one.files));
  const frames = new Map<string, ExplainedFile[]>();
  for (const file of files) {
    const frame = wordPackage(file) ?? "";
    frames.set(frame, [...(frames.get(frame) ?? []), file]);
  }
  const box = (file: ExplainedFile): string => {
    const look = roots.has(file.path) ? ', style="filled,bold", fillcolor="#dbeafe"' : "";
    return `${ids.get(file.path)} [label=${quote(`${file.path}\n${wordSize(file.size)}`)}${look}];`;
  };
  let missing = 0;
  const arrows = files.flatMap(({ path, needs }) =>
    needs.flatMap((need) => {
      const look = need.late === undefined ? "" : ", style=dashed";
      const tip = [need.name, wordNeedRule(need), ...(need.late === undefined ? [] : [`dlopen, ${need.late}`])];
      const arrow = (to: string): string =>
        `${ids.get(path)} -> ${to} [tooltip=${quote(tip.join("\n"))}, edgetooltip=${quote(tip.join("\n"))}${look}];`;
      if (need.path !== undefined) return [arrow(ids.get(need.path)!)];
      const id = `m${missing++}`;
      return [`${id} [label=${quote(`${need.name}\nmissing`)}, color=red, fontcolor=red];`, arrow(id)];
    }),
  );
  const lines = [
    `graph [rankdir=LR, label=${quote(image)}, labelloc=t, fontname="sans-serif"];`,
    'node [shape=box, fontname="sans-serif", fontsize=10];',
    'edge [color="#64748b"];',
    ...[...frames].flatMap(([name, inside], index) =>
      name === ""
        ? inside.map(box)
        : [
            `subgraph cluster_${index} { label=${quote(name)}; color="#94a3b8";`,
            ...inside.map((one) => `  ${box(one)}`),
            "}",
          ],
    ),
    ...arrows,
  ];
  return `digraph needs {\n${lines.map((line) => `  ${line}\n`).join("")}}\n`;
}

/**
 * A quoted label. Names are anybody's: a backslash starts an escape of labels (escString) and an ampersand an entity
 * of HTML (graphviz.org/doc/info/lang.html), so both are spelled out.
 */
function quote(text: string): string {
  const lines = text.split("\n").map((line) => printable(line).replaceAll("&", "&amp;").replaceAll("\\", "\\\\"));
  return `"${lines.join("\\n").replaceAll('"', '\\"')}"`;
}
