import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { formatDot } from "../../../src/wrap/explain/dot.ts";
import type { Explanation, Need } from "../../../src/wrap/explain/explanation.ts";
import { wordSize } from "../../../src/wrap/explain/explanation.ts";
import { formatPage } from "../../../src/wrap/explain/page.ts";
import { formatText } from "../../../src/wrap/explain/text.ts";
import { weigh } from "../../../src/wrap/explain/weigh.ts";

const need = (name: string, path?: string): Need =>
  path === undefined ? { name } : { name, path: rootPath(path), rule: { kind: "default", folder: rootPath("/lib") } };

function explanation(files: Readonly<Record<string, readonly Need[]>>, more: Partial<Explanation> = {}): Explanation {
  const [first = ""] = Object.keys(files);
  return {
    image: "dir:/x",
    asked: [{ path: rootPath(first), files: [rootPath(first)] }],
    files: Object.entries(files).map(([path, needs]) => ({
      path: rootPath(path),
      role: "library",
      size: 1000,
      brings: 1000,
      alias: [],
      needs,
    })),
    packages: [{ name: "", files: Object.keys(files).length, size: 1000 }],
    size: 1000,
    warnings: [],
    hints: [],
    ...more,
  };
}

describe("what goes with a file", () => {
  /** The definition itself: bytes reached with the file, less those reached without it. */
  const byDefinition = (edges: readonly (readonly number[])[], roots: readonly number[], gone: number): number => {
    const reach = (without?: number): Set<number> => {
      const seen = new Set(roots.filter((root) => root !== without));
      for (const node of seen) for (const to of edges[node]!) if (to !== without) seen.add(to);
      return seen;
    };
    return [...reach()].filter((node) => !reach(gone).has(node)).reduce((sum, node) => sum + 2 ** node, 0);
  };

  test("is its own size and that of all that nobody else needs, in any graph", () => {
    const nodes = 9;
    const node = fc.integer({ min: 0, max: nodes - 1 });
    const graph = fc.array(fc.uniqueArray(node, { maxLength: 3 }), { minLength: nodes, maxLength: nodes });
    fc.assert(
      fc.property(graph, fc.uniqueArray(node, { minLength: 1, maxLength: 3 }), (edges, roots) => {
        const name = (index: number) => rootPath(`/${index}`);
        const files = edges.map((to, index) => ({
          path: name(index),
          size: 2 ** index,
          needs: to.map((one) => need("x", name(one))),
        }));
        const weights = weigh(files, roots.map(name));
        const reached = new Set(roots);
        for (const one of reached) for (const to of edges[one]!) reached.add(to);
        for (const one of reached) expect(weights.get(name(one))).toBe(byDefinition(edges, roots, one));
      }),
    );
  });

  test("a chain of a twenty thousand", () => {
    const files = Array.from({ length: 20_000 }, (_, index) => ({
      path: rootPath(`/${index}`),
      size: 1,
      needs: [need("x", `/${index + 1}`)],
    }));
    expect(weigh(files, [rootPath("/0")]).get(rootPath("/0"))).toBe(20_000);
  });
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [12_345, "12 kB"],
  [1_234_567, "1.2 MB"],
  [5e9, "5.0 GB"],
  [3e15, "3000 TB"],
])("%d bytes are %s", (bytes, words) => expect(wordSize(bytes)).toBe(words));

describe("text", () => {
  test("each file is told once, below the first who asks for it; circles end", () => {
    const text = formatText(
      explanation({
        "/p": [need("ld", "/ld"), need("a", "/a"), need("c", "/c")],
        "/a": [need("b", "/b"), need("c", "/c")],
        "/b": [need("a", "/a")],
        "/c": [need("ld", "/ld"), need("gone")],
        "/ld": [],
      }),
    );
    expect(text.split("\n").slice(0, 7)).toEqual([
      "/p (1.0 kB)",
      "├─ ld -> /ld (1.0 kB) [default folder, /lib]",
      "├─ a -> /a (1.0 kB) [default folder, /lib]",
      "│  ├─ b -> /b (1.0 kB) [default folder, /lib] + a",
      "│  └─ also c",
      "└─ c -> /c (1.0 kB) [default folder, /lib]",
      "   ├─ gone IS MISSING",
    ]);
  });

  test("no control character of a name reaches the terminal", () => {
    const text = formatText(explanation({ "/p\u001b[31m\n": [need("\u0007x")] }, { warnings: ["\u009b"] }));
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  });
});

describe("a page that is safe against names", () => {
  const template =
    '<meta content="{{style}} {{script}}"><style>s</style><script type="x">{{data}}</script><script>code</script>';

  test.each(["</script><script>alert(1)</script>", "<!--<script>", "]]>", "&quot;", "\u2028", "{{script}}", "$&$'"])(
    "%j is in it as JSON that ends no element, and comes back as it was",
    (name) => {
      const page = formatPage(explanation({ [`/${name.replaceAll("/", "|")}`]: [need(name)] }), template);
      const data = /<script type="x">(.*)<\/script><script>code/s.exec(page)![1]!;
      expect(data).not.toMatch(/[<>&\u2028]/);
      const { files } = JSON.parse(data) as Explanation;
      expect(files[0]!.needs[0]!.name).toBe(name);
    },
  );

  test("the policy names the hashes of the page's own style and script", () => {
    // printf code | openssl dgst -sha256 -binary | base64
    expect(formatPage(explanation({ "/p": [] }), template)).toContain("VpTQii5T/8rgwxA+Wtb2B2q9lg6x+KVldwQLwQKPcCs=");
  });
});

test("a graph frames packages and shows what is missing", () => {
  const dot = formatDot(explanation({ "/p": [need("a", "/a"), need("gone")], "/a": [] }));
  expect(dot).toContain("f0 -> f1 ");
  expect(dot).toContain('m0 [label="gone\\nmissing"');
});
