// Writes the option tables of docs/ from the rows in src/cli/options.ts; `--check` only says whether they are up to date.
// A document names the tables it wants: <!-- options: imageOptions --> … <!-- end -->
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import * as tables from "../dist/cli/options.js";

const folder = new URL("../docs/", import.meta.url);
const stale = [];
for (const file of readdirSync(folder).filter((name) => name.endsWith(".md"))) {
  const path = new URL(file, folder);
  const text = readFileSync(path, "utf8");
  const fresh = text.replace(/<!-- options: (\w+) -->[\s\S]*?<!-- end -->/g, (_, name) => {
    const rows = tables[name];
    if (rows === undefined) throw new Error(`docs/${file} asks for the unknown option table ${name}`);
    return `<!-- options: ${name} -->\n${formatTable(rows)}\n<!-- end -->`;
  });
  if (fresh === text) continue;
  stale.push(file);
  if (!process.argv.includes("--check")) writeFileSync(path, fresh);
}
if (process.argv.includes("--check") && stale.length > 0) {
  console.error(
    `out of date: ${stale.map((file) => `docs/${file}`).join(", ")}; run: npm run build && node scripts/docs.mjs`,
  );
  process.exitCode = 1;
}

function formatTable(rows) {
  const cell = (text) => text.replaceAll("|", "\\|");
  const lines = rows.map((row) => {
    const facts = [
      row.choices && `one of ${row.choices.map((choice) => `\`${choice}\``).join(", ")}`,
      row.repeatable && "may be given several times",
      row.default !== undefined && `default \`${row.default}\``,
    ].filter(Boolean);
    const help = facts.length === 0 ? row.help : `${row.help} (${facts.join("; ")})`;
    return `| \`${cell(row.flags)}\` | ${[row.env ?? []]
      .flat()
      .map((name) => `\`${name}\``)
      .join(", ")} | ${cell(help)} |`;
  });
  return ["| option | variable | meaning |", "|---|---|---|", ...lines].join("\n");
}
