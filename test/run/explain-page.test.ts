import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rootPath } from "../../src/core/paths.ts";
import type { ExplainedFile, Explanation, Need } from "../../src/wrap/explain/explanation.ts";
import { formatPage } from "../../src/wrap/explain/page.ts";
import { flixwrap, sh } from "../support/program.ts";

const work = mkdtempSync(join(tmpdir(), "flixwrap-page-"));

/** One tab of Debian's Chromium, by the WebDriver protocol (W3C). */
class Browser {
  readonly #base: string;
  readonly #session: string;
  readonly #stop: () => void;

  private constructor(base: string, session: string, stop: () => void) {
    this.#base = base;
    this.#session = session;
    this.#stop = stop;
  }

  static async open(): Promise<Browser> {
    const driver = spawn("chromedriver", ["--port=0"], { stdio: ["ignore", "pipe", "ignore"] });
    const port = await new Promise<string>((resolve, reject) => {
      let said = "";
      driver.on("error", reject);
      driver.stdout.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        const match = /successfully on port (\d+)/.exec(said);
        if (match !== null) resolve(match[1]!);
      });
    });
    const flags = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-dev-shm-usage"];
    const calm = ["disable-background-networking", "disable-component-update", "disable-sync", "window-size=1300,900"];
    const args = [...flags, ...calm, `user-data-dir=${join(work, "profile")}`].map((flag) => `--${flag}`);
    const capabilities = { alwaysMatch: { "goog:chromeOptions": { args }, "goog:loggingPrefs": { browser: "ALL" } } };
    const base = `http://127.0.0.1:${port}`;
    const { sessionId } = await post<{ sessionId: string }>(`${base}/session`, { capabilities });
    return new Browser(base, sessionId, () => void driver.kill());
  }

  show = (path: string): Promise<unknown> => this.#post("url", { url: `file://${path}` });
  run = <T>(script: string, ...args: unknown[]): Promise<T> => this.#post("execute/sync", { script, args });
  log = async (): Promise<string[]> =>
    (await this.#post<{ message: string }[]>("se/log", { type: "browser" })).map(({ message }) => message);

  async find(selector: string): Promise<string> {
    return Object.values(
      await this.#post<Record<string, string>>("element", { using: "css selector", value: selector }),
    )[0]!;
  }
  click = async (selector: string): Promise<unknown> => this.#post(`element/${await this.find(selector)}/click`, {});
  type = async (selector: string, text: string): Promise<unknown> =>
    this.#post(`element/${await this.find(selector)}/value`, { text });

  async close(): Promise<void> {
    await fetch(`${this.#base}/session/${this.#session}`, { method: "DELETE" });
    this.#stop();
  }

  #post<T>(command: string, body: unknown): Promise<T> {
    return post<T>(`${this.#base}/session/${this.#session}/${command}`, body);
  }
}

async function post<T>(url: string, body: unknown): Promise<T> {
  const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  const { value } = (await response.json()) as { value: T & { error?: string; message?: string } };
  if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

let browser: Browser;
beforeAll(async () => {
  browser = await Browser.open();
});
afterAll(async () => {
  await browser.close();
  rmSync(work, { recursive: true, force: true, maxRetries: 5 });
});

const visibleNames = (): Promise<string[]> =>
  browser.run(
    `return [...document.querySelectorAll(".row")].filter((row) => row.offsetParent !== null).map((row) => row.querySelector(".name").firstChild.textContent.trim() || row.querySelector(".name").textContent.trim())`,
  );
const text = (selector: string): Promise<string> =>
  browser.run("return document.querySelector(arguments[0]).innerText", selector);

describe("the page of a real program", () => {
  beforeAll(async () => {
    const root = join(work, "root");
    const libraries = [...sh("ldd /bin/ls").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
    for (const path of ["/bin/ls", ...libraries])
      sh(`mkdir -p $(dirname ${root}${path}) && cp -L ${path} ${root}${path}`);
    const { stdout, status } = flixwrap(["explain", "--html", `dir:${root}`, "/bin/ls"]);
    expect(status).toBe(0);
    writeFileSync(join(work, "ls.html"), stdout);
    await browser.show(join(work, "ls.html"));
  });

  test("shows the tree, the sums and the program that was asked for, without a complaint of the browser", async () => {
    expect(await browser.log()).toEqual([]);
    expect(await text("h1")).toBe("What /bin/ls needs");
    expect(await visibleNames()).toEqual(expect.arrayContaining(["/bin/ls", "libc.so.6", "libselinux.so.1"]));
    expect(await text("#detail h2")).toBe("/bin/ls");
  });

  test("a branch closes and opens", async () => {
    const all = await visibleNames();
    await browser.click(".tree > li > .row .toggle");
    expect(await visibleNames()).toEqual(["/bin/ls"]);
    await browser.click(".tree > li > .row .toggle");
    expect(await visibleNames()).toEqual(all);
  });

  test("a search leaves what matches, and the way to it", async () => {
    await browser.type("#search", "pcre2");
    const names = await visibleNames();
    expect(names[0]).toBe("/bin/ls");
    expect(names.length).toBeLessThan(4);
    expect(await text(".tree mark")).toBe("pcre2");
    await browser.run(
      "const box = document.getElementById('search'); box.value = ''; box.dispatchEvent(new Event('input'))",
    );
  });

  test("a chosen library tells who needs it and by which rule", async () => {
    await browser.run(
      `[...document.querySelectorAll(".row")].find((row) => row.textContent.includes("libselinux")).click()`,
    );
    expect(await text("#detail")).toMatch(/NEEDED BY 1\s+\/bin\/ls\s+libselinux\.so\.1: default folder/i);
    await browser.run(
      `[...document.querySelectorAll("#detail .link")].find((one) => one.textContent === "/bin/ls").click()`,
    );
    expect(await text("#detail h2")).toBe("/bin/ls");
  });

  test.each([
    ["files", "/bin/ls"],
    ["packages", "no package"],
    ["hints", "may be wanted"],
  ])("the view of %s", async (view, words) => {
    await browser.click(`[data-view=${view}]`);
    expect(await text("#view")).toContain(words);
  });
});

describe("names that want to be code", () => {
  const names = [
    `<img src=x onerror="window.hacked=1">`,
    `</script><script>window.hacked=2</script>`,
    `"><svg onload=window.hacked=3>`,
    `javascript:window.hacked=4`,
    "{{script}}",
    "\u202egnp.exe",
    "\udc80\u0007",
  ];

  beforeAll(async () => {
    const evil = names.join(" ");
    const path = (index: number) => rootPath(`/${index}-${names[index]!.replaceAll("/", "|")}`);
    const files = names.map((name, index): ExplainedFile => {
      const next: Need[] =
        index + 1 < names.length
          ? [{ name, path: path(index + 1), rule: { kind: "default", folder: rootPath(name) }, late: name }]
          : [{ name }];
      const owner = { type: "deb", name, version: name } as const;
      return {
        path: path(index),
        role: "library",
        size: 1,
        brings: 1,
        package: owner,
        alias: [rootPath(name)],
        needs: next,
      };
    });
    const explanation: Explanation = {
      image: evil,
      asked: [{ path: path(0), files: [path(0)] }],
      files,
      packages: names.map((name) => ({ name, files: 1, size: 1 })),
      size: names.length,
      refusal: names,
      warnings: names,
      hints: names.map((name) => ({
        kind: "plug-ins",
        folder: rootPath(name),
        why: name,
        namedBy: [path(0)],
        libraries: [rootPath(name)],
      })),
    };
    const template = readFileSync(new URL("../../templates/explain.html", import.meta.url), "utf8");
    mkdirSync(work, { recursive: true });
    writeFileSync(join(work, "evil.html"), formatPage(explanation, template));
    await browser.show(join(work, "evil.html"));
  });

  test("stay text in every view, and what could not be seen is spelled out", async () => {
    for (const view of ["tree", "files", "packages", "hints"]) {
      await browser.click(`[data-view=${view}]`);
      expect(await browser.run("return document.querySelectorAll('img, svg, iframe, a, object').length")).toBe(0);
      expect(await browser.run("return document.scripts.length")).toBe(2);
      expect(await text("body")).toContain("<img src=x onerror=");
    }
    expect(await text("body")).toContain("\\u{202e}gnp.exe");
    expect(await browser.run("return document.body.innerText.includes('\\u202e')")).toBe(false);
    expect(await browser.run("return typeof window.hacked")).toBe("undefined");
    expect(await browser.log()).toEqual([]);
  });

  test("and would not run if they became elements", async () => {
    await browser.run(
      "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=5\">'); const code = document.createElement('script'); code.textContent = 'window.hacked=6'; document.body.append(code)",
    );
    await browser.run("return new Promise((done) => setTimeout(done, 300))");
    expect(await browser.run("return typeof window.hacked")).toBe("undefined");
  });
});
