import { expect, test, vi } from "vitest";
import { runProgram } from "../../../src/cli/program.ts";
import { rebuildCommand } from "../../../src/convert/rebuild.ts";
import type { Request } from "../../../src/convert/request.ts";

const requests: Request[] = [];
vi.mock("../../../src/convert/convert.ts", () => ({
  convert: (request: Request) => {
    requests.push(request);
    return Promise.resolve({ plan: { actions: [], warnings: [] }, findings: [], beside: [] });
  },
}));

async function read(command: readonly string[]): Promise<Request> {
  const said: string[] = [];
  const terminal = { out: () => {}, err: (text: string) => said.push(text), interactive: false };
  const stdin = { isTerminal: () => false, read: () => process.stdin };
  const world = { terminal, env: {}, signal: new AbortController().signal, stdin, currentFolder: () => "/" };
  expect({ status: await runProgram(command, world), said }).toEqual({ status: 0, said: [] });
  return requests.at(-1)!;
}

const release = "--os flatcar --release-field A=1 --release-field B=2 --reload --any-file-name --epoch 7";
test.each([
  `flix ${release} --etc /etc/a --etc /etc/b --no-check suid --no-check paths debian:12 x /usr/bin/x`,
  "flix --no-state --no-users --no-papers --strip --lib /lib/a.so --with-binaries /usr/lib/x/* dir:/r x /b /a:/usr/bin/a",
  `flatwrap ${release} --etc chroot --var chroot --only-needed --unit-mode wrapper dir:/r x /bin/x`,
  "flatwrap --ship-etc /etc/x --bind /srv:/srv:ro --bind /mnt --exclude /usr/share/doc/** --allow-suid dir:/r x /bin/x",
  "flix --run b --run a debian:12 x /usr/bin/x",
  "torcx --etc /etc/docker --format erofs --compression zstd --level 3 docker.torcx.tgz docker",
  "pack --arch arm64 --etc /etc/x --enable x.service --upholds symlink --keep-owners dir:/tree x",
])("%s: the command that is noted asks for the same", async (command) => {
  const first = await read(command.split(" "));
  const [program, ...words] = rebuildCommand(first);
  expect(program).toBe("flixwrap");
  const again = await read(words);
  expect(again.options).toEqual(first.options);
  expect(again).toEqual({ ...first, entries: first.entries.toSorted() });
});

test("passwords, and places of the machine that made it, are not noted", async () => {
  const places = "--output /tmp/x.raw --cache-dir /tmp/c --private-key /tmp/k --certificate /tmp/c --trace x";
  const asked = await read(`flix --creds user:secret ${places} debian:12 x /usr/bin/x`.split(" "));
  expect(rebuildCommand(asked).join(" ")).not.toMatch(/secret|\/tmp|trace/);
});
