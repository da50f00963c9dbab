import { printable } from "../../core/errors.ts";
import type { RootPath } from "../../core/paths.ts";
import { type ExplainedFile, type Explanation, type Need, wordPackage, wordSize } from "./explanation.ts";
import { wordNeedRule } from "./words.ts";

/** The explanation as a tree for a terminal, one line per file and need. */
export function formatText(explanation: Explanation): string {
  return [...new TreePrinter(explanation).lines(), "", ...sums(explanation), ...remarks(explanation)]
    .map((line) => `${printable(line)}\n`)
    .join("");
}

class TreePrinter {
  readonly #explanation: Explanation;
  readonly #files: ReadonlyMap<RootPath, ExplainedFile>;
  /** Where each file is told with all it needs: below the first who asked for it, nearest to the top. */
  readonly #toldBelow = new Map<RootPath, RootPath>();

  constructor(explanation: Explanation) {
    this.#explanation = explanation;
    this.#files = new Map(explanation.files.map((file) => [file.path, file]));
    // A Set is walked in insertion order, including what is added on the way: breadth first.
    const reached = new Set(explanation.asked.flatMap(({ files }) => files));
    for (const path of reached) {
      for (const need of this.#files.get(path)?.needs ?? []) {
        if (need.path === undefined || reached.has(need.path)) continue;
        reached.add(need.path);
        this.#toldBelow.set(need.path, path);
      }
    }
  }

  lines(): string[] {
    return this.#explanation.asked.flatMap(({ path, files }) => {
      const isItself = files.length === 1 && files[0] === path;
      const head = isItself ? [] : [`${path}${files.length === 1 ? ` -> ${files[0]}` : `: ${files.length} files`}`];
      return [...head, ...files.flatMap((file) => this.#tell(this.#files.get(file)!, "", ""))];
    });
  }

  /** `head` stands before the file on its own line, `how` behind it, `indent` before the lines of its needs. */
  #tell(file: ExplainedFile, head: string, indent: string, how = ""): string[] {
    const told: Need[] = [];
    const elsewhere: Need[] = [];
    for (const need of file.needs) {
      const isTold = need.path === undefined || this.#toldBelow.get(need.path) === file.path;
      const isTwice = told.some(({ path }) => path !== undefined && path === need.path);
      (isTold && !isTwice ? told : elsewhere).push(need);
    }
    const others = [...new Set(elsewhere.map(({ name }) => name))].join(", ");
    // A leaf says on its own line what else it needs.
    const also = others === "" || told.length === 0 ? [] : [`also ${others}`];
    const leaf = others === "" || told.length > 0 ? "" : `+ ${others}`;
    return [
      [`${head}${wordFile(file)}`, how, leaf].filter((part) => part !== "").join(" "),
      ...told.flatMap((need, index) => {
        const isLast = index === told.length - 1 && also.length === 0;
        return this.#tellNeed(need, `${indent}${isLast ? "└─ " : "├─ "}`, `${indent}${isLast ? "   " : "│  "}`);
      }),
      ...also.map((line) => `${indent}└─ ${line}`),
    ];
  }

  #tellNeed(need: Need, lead: string, indent: string): string[] {
    const late = need.late === undefined ? "" : `, by dlopen: ${need.late}`;
    if (need.path === undefined) return [`${lead}${need.name}${late} IS MISSING`];
    const name = need.name === need.path ? "" : `${need.name} -> `;
    const how = `[${wordNeedRule(need)}${late}]`;
    return this.#tell(this.#files.get(need.path)!, `${lead}${name}`, indent, how);
  }
}

function wordFile(file: ExplainedFile): string {
  const more = file.brings > file.size ? `, ${wordSize(file.brings)} with what only it needs` : "";
  const owner = wordPackage(file);
  return `${file.path} (${wordSize(file.size)}${more}${owner === undefined ? "" : `; ${owner}`})`;
}

function sums({ files, size, packages }: Explanation): string[] {
  const rows = packages.map((one) => [wordSize(one.size), `${one.files}`, one.name || "(no package)"] as const);
  const width = Math.max(...rows.map(([text]) => text.length));
  const digits = Math.max(...rows.map(([, count]) => count.length));
  return [
    `${files.length} files, ${wordSize(size)}:`,
    ...rows.map(([text, count, name]) => `  ${text.padStart(width)}  ${count.padStart(digits)}  ${name}`),
  ];
}

function remarks({ refusal, warnings, hints }: Explanation): string[] {
  const problem = refusal === undefined ? [] : ["", `flix would refuse this: ${refusal[0]}`, ...refusal.slice(1)];
  const told = hints.map((hint) => {
    const who = hint.namedBy.join(", ");
    return hint.kind === "library"
      ? `  ${hint.name} -> ${hint.path}, named in ${who}; add it with --lib ${hint.path}`
      : `  ${hint.folder}: ${hint.libraries.length} plug-ins, ${hint.why}; named in ${who}`;
  });
  return [
    ...problem,
    ...(warnings.length === 0 ? [] : ["", "warnings:", ...warnings.map((warning) => `  ${warning}`)]),
    ...(told.length === 0 ? [] : ["", "may be wanted at run time, and is not taken:", ...told]),
  ];
}
