import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commandsOf, moveCommands } from "../../../src/extension/units/commands.ts";
import { type UpholdsForm, planEnable } from "../../../src/extension/units/enable.ts";
import {
  addSettings,
  editSettings,
  formatUnit,
  parseUnit,
  settingsOf,
  valuesOf,
} from "../../../src/extension/units/unit-file.ts";
import { quoteWord, splitWords } from "../../../src/extension/units/words.ts";

const nginx = `# A comment
; another
[Unit]
Description=A web server \\
# inside a continuation
   and more
After=network.target
After=

After=nss-lookup.target

[Service]
Type=forking
ExecStartPre = -/usr/sbin/nginx -t -q -g 'daemon on; master_process on;'
ExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'
ExecReload=@/usr/sbin/nginx nginx -s reload ; +/bin/true \\; x
[Install]
WantedBy=multi-user.target`;

describe("a unit file", () => {
  test("comes back byte for byte, whatever it is", () => {
    expect(formatUnit(parseUnit(nginx))).toBe(nginx);
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom("[Unit]", "A=b", "A = b\\", "#c", "", "\\", "=x", "[", "[X]\r", " \t[Y] ", "no equals", "\0"),
    );
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom("\n", "\r\n"), fc.boolean(), (lines, newline, last) => {
        const text = lines.join(newline) + (last ? newline : "");
        expect(formatUnit(parseUnit(text))).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  test("joins continuations without the comments in them", () => {
    expect(valuesOf(parseUnit(nginx), "Unit", "Description")[0]!.replace(/\s+/g, " ")).toBe("A web server and more");
  });

  test("an empty assignment clears a list", () => {
    expect(valuesOf(parseUnit(nginx), "Unit", "After")).toEqual(["nss-lookup.target"]);
    expect(settingsOf(parseUnit(nginx), "Unit", "After")).toHaveLength(3);
  });

  test("an edit touches its own lines only", () => {
    const edited = editSettings(parseUnit(nginx), ({ key, value }) =>
      key === "Type" ? "simple" : key === "ExecReload" ? undefined : value,
    );
    const lines = nginx.split("\n");
    expect(formatUnit(edited).split("\n")).toEqual(
      lines.filter((line) => !line.startsWith("ExecReload")).map((line) => line.replace("Type=forking", "Type=simple")),
    );
  });

  test("settings are added at the section's head, or with a new section", () => {
    const text = "[Unit]\nA=1\n[Service]\nB=2";
    const unit = addSettings(parseUnit(text), "Service", [
      ["C", "3"],
      ["D", ""],
    ]);
    expect(formatUnit(unit)).toBe("[Unit]\nA=1\n[Service]\nC=3\nD=\nB=2");
    expect(formatUnit(addSettings(unit, "Install", [["WantedBy", "x.target"]]))).toBe(
      "[Unit]\nA=1\n[Service]\nC=3\nD=\nB=2\n\n[Install]\nWantedBy=x.target\n",
    );
    expect(formatUnit(addSettings(parseUnit("[Service]"), "Service", [["A", "1"]]))).toBe("[Service]\nA=1\n");
  });

  test.each([
    ["A=1\n[Unit]\n", "a setting before any section"],
    ["[Unit]\nnonsense\n", "neither a section nor KEY=VALUE"],
    ["[Unit\nA=1\n", "neither a section nor KEY=VALUE"],
  ])("tells what systemd would skip: %j", (text, problem) => {
    const problems = parseUnit(text).items.flatMap((item) =>
      item.kind === "other" && item.problem ? [item.problem] : [],
    );
    expect(problems).toContain(problem);
  });
});

describe("words", () => {
  test.each([
    ["a  b\tc", ["a", "b", "c"]],
    [`a "b c" 'd "e'`, ["a", "b c", `d "e`]],
    [`a"b c"d ''`, ["ab cd", ""]],
    [String.raw`a\x20b \101\n \q \s`, ["a b", "A\n", "\\q", " "]],
    ["", []],
    [`open "quote`, undefined],
  ])("%j", (value, words) => {
    expect(splitWords(value)).toEqual(words);
  });

  test("any word survives its quotes", () => {
    const word = fc.string({ unit: fc.constantFrom(..."ab \"'\\\n\tn$;x41".split("")) });
    fc.assert(
      fc.property(fc.array(word), (words) => {
        expect(splitWords(words.map(quoteWord).join(" "))).toEqual(words);
      }),
    );
  });
});

describe("command lines", () => {
  test("every program, without its prefixes", () => {
    expect(commandsOf(parseUnit(nginx))).toEqual([
      { key: "ExecStartPre", program: "/usr/sbin/nginx", mayFail: true },
      { key: "ExecStart", program: "/usr/sbin/nginx", mayFail: false },
      { key: "ExecReload", program: "/usr/sbin/nginx", mayFail: false },
      { key: "ExecReload", program: "/bin/true", mayFail: false },
    ]);
  });

  test("programs move, arguments and layout stay", () => {
    const moves = new Map([
      ["/usr/sbin/nginx", "/usr/bin/nginx"],
      ["/bin/true", "/usr/bin/true"],
    ]);
    const wanted = nginx.replaceAll("/usr/sbin/nginx", "/usr/bin/nginx").replace("/bin/true", "/usr/bin/true");
    expect(formatUnit(moveCommands(parseUnit(nginx), moves))).toBe(wanted);
    const argument = "[Service]\nExecStart=/bin/sh -c 'exec /usr/sbin/nginx'\n";
    expect(formatUnit(moveCommands(parseUnit(argument), moves))).toBe(argument);
  });
});

describe("enabling", () => {
  const files: Record<string, string> = {
    "nginx.service": nginx,
    "app.socket": "[Socket]\nListenStream=1\n",
    "app.timer": "[Timer]\n",
    "bare.service": "[Service]\nExecStart=/usr/bin/x\n",
    "many.service":
      "[Install]\nWantedBy=a.target b.target\nRequiredBy=a.target\nAlso=app.socket gone.service many.service\n",
    "t@.service": "[Install]\nDefaultInstance=one\nWantedBy=getty.target\n",
    "u@.service": "[Install]\nWantedBy=getty.target\n",
  };
  const read = (name: string) => (files[name] === undefined ? undefined : parseUnit(files[name]));
  const base = "/usr/lib/systemd/system";
  const rows: [string, UpholdsForm, Record<string, string>][] = [
    ["nginx.service", "drop-in", { "multi-user.target.d/10-nginx.service.conf": "[Unit]\nUpholds=nginx.service\n" }],
    ["app.socket", "drop-in", { "sockets.target.d/10-app.socket.conf": "[Unit]\nUpholds=app.socket\n" }],
    ["app.timer", "drop-in", { "timers.target.d/10-app.timer.conf": "[Unit]\nUpholds=app.timer\n" }],
    ["bare.service", "symlink", { "multi-user.target.upholds/bare.service": "../bare.service" }],
    [
      "many.service",
      "symlink",
      {
        "a.target.upholds/many.service": "../many.service",
        "b.target.upholds/many.service": "../many.service",
        "sockets.target.upholds/app.socket": "../app.socket",
      },
    ],
    ["t@.service", "symlink", { "getty.target.upholds/t@one.service": "../t@.service" }],
    ["u@x.service", "drop-in", { "getty.target.d/10-u@x.service.conf": "[Unit]\nUpholds=u@x.service\n" }],
  ];
  test.each(rows)("%s as a %s", (name, form, wanted) => {
    const made = planEnable([name], read, form).map((action) => [
      action.to.slice(base.length + 1),
      action.kind === "symlink" ? action.target : action.kind === "write" ? Buffer.from(action.content).toString() : "",
    ]);
    expect(Object.fromEntries(made)).toEqual(wanted);
  });

  test.each(["gone.service", "nginx", "../x.service", "u@.service", "a b.service"])("refuses %s", (name) => {
    expect(() => planEnable([name], read)).toThrow(/cannot enable the unit/);
  });
});
