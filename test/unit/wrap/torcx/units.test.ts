import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { imagesOf, rewriteUnit } from "../../../../src/wrap/torcx/units.ts";

const rewrite = (text: string, needsVariables = false) =>
  rewriteUnit(text, { images: new Set(["docker"]), needsVariables });

/** One row per rule and oddity: what it is about, the unit, what is left of it. */
const rows: readonly (readonly [title: string, before: string, after: string])[] = [
  // EnvironmentFile
  [
    "the file of variables",
    "[Service]\nEnvironmentFile=/run/metadata/torcx\nType=notify\n",
    "[Service]\nType=notify\n",
  ],
  ["with a minus (Z03)", "[Service]\nEnvironmentFile=-/run/metadata/torcx\n", "[Service]\n"],
  ["with spaces around", "[Service]\nEnvironmentFile = -/run/metadata/torcx \n", "[Service]\n"],
  ["quoted", '[Service]\nEnvironmentFile="/run/metadata/torcx"\n', "[Service]\n"],
  [
    "other files of variables stay",
    "[Service]\nEnvironmentFile=-/run/flannel/flannel_docker_opts.env\nEnvironmentFile=/run/metadata/torcx2\nEnvironmentFile=/run/metadata/coreos\n",
    "[Service]\nEnvironmentFile=-/run/flannel/flannel_docker_opts.env\nEnvironmentFile=/run/metadata/torcx2\nEnvironmentFile=/run/metadata/coreos\n",
  ],
  ["in a socket", "[Socket]\nEnvironmentFile=/run/metadata/torcx\nListenStream=/x\n", "[Socket]\nListenStream=/x\n"],
  [
    "a condition on it",
    "[Unit]\nConditionPathExists=/run/metadata/torcx\nAfter=a.service\n",
    "[Unit]\nAfter=a.service\n",
  ],
  ["a triggering condition", "[Unit]\nConditionPathExists=|!/run/metadata/torcx\n", "[Unit]\n"],
  // Unit lists
  ["After= alone", "[Unit]\nAfter=torcx.target\nWants=x.target\n", "[Unit]\nWants=x.target\n"],
  ["Requires= first", "[Unit]\nRequires=torcx.target docker.socket\n", "[Unit]\nRequires=docker.socket\n"],
  ["After= in between", "[Unit]\nAfter=a.service torcx.target  b.service\n", "[Unit]\nAfter=a.service b.service\n"],
  ["Before= last", "[Unit]\nBefore=a.service torcx.target\n", "[Unit]\nBefore=a.service\n"],
  ["Wants=, twice", "[Unit]\nWants=torcx.target\nWants=torcx.target y.service\n", "[Unit]\nWants=y.service\n"],
  ["BindsTo=, PartOf=", "[Unit]\nBindsTo=torcx.target a.service\nPartOf=torcx.target\n", "[Unit]\nBindsTo=a.service\n"],
  [
    "[Install]",
    "[Install]\nWantedBy=torcx.target multi-user.target\nAlso=torcx.target docker.socket\n",
    "[Install]\nWantedBy=multi-user.target\nAlso=docker.socket\n",
  ],
  [
    "names alike stay (Z03)",
    "[Unit]\nAfter=torcxXtarget my-torcx.target torcx.target.wants\n",
    "[Unit]\nAfter=torcxXtarget my-torcx.target torcx.target.wants\n",
  ],
  ["an empty list that resets stays", "[Unit]\nAfter=\nAfter=torcx.target\n", "[Unit]\nAfter=\n"],
  [
    "words about it stay",
    "[Unit]\nDescription=After torcx.target, with ${TORCX_BINDIR}\n",
    "[Unit]\nDescription=After torcx.target, with ${TORCX_BINDIR}\n",
  ],
  [
    "comments stay",
    "# torcx.target\n[Unit]\n; After=torcx.target\nAfter=torcx.target\n",
    "# torcx.target\n[Unit]\n; After=torcx.target\n",
  ],
  [
    "continuation lines, with a comment inside",
    "[Unit]\nAfter=a.service \\\n# torcx.target goes\n  torcx.target \\\n  b.service\nWants=c.service\n",
    "[Unit]\nAfter=a.service \\\n# torcx.target goes\n  b.service\nWants=c.service\n",
  ],
  [
    "CRLF",
    "[Unit]\r\nAfter=a.service torcx.target\r\nRequires=torcx.target\r\n[Service]\r\nType=simple\r\n",
    "[Unit]\r\nAfter=a.service\r\n[Service]\r\nType=simple\r\n",
  ],
  ["no newline at the end", "[Unit]\nAfter=torcx.target a.service", "[Unit]\nAfter=a.service"],
  ["nothing left at the end", "[Unit]\nWants=a.service\nAfter=torcx.target", "[Unit]\nWants=a.service\n"],
  // Environment
  ["the image's folder", "[Service]\nEnvironment=TORCX_IMAGEDIR=/docker\nType=notify\n", "[Service]\nType=notify\n"],
  [
    "beside others, quoted or not",
    '[Service]\nEnvironment=A=1 "TORCX_IMAGEDIR=/docker" "B=2 3" TORCX_BINDIR=/run/torcx/bin\n',
    '[Service]\nEnvironment=A=1 "B=2 3"\n',
  ],
  [
    "a value with = in it",
    '[Service]\nEnvironment="OPTS=--a=b TORCX_IMAGEDIR=/x"\n',
    '[Service]\nEnvironment="OPTS=--a=b TORCX_IMAGEDIR=/x"\n',
  ],
  ["PassEnvironment=", "[Service]\nPassEnvironment=PATH TORCX_BINDIR HOME\n", "[Service]\nPassEnvironment=PATH HOME\n"],
  // Variables
  [
    "programs behind env",
    "[Service]\nExecStart=/usr/bin/env PATH=${TORCX_BINDIR}:${PATH} ${TORCX_BINDIR}/dockerd --host=fd:// $DOCKER_OPTS\n",
    "[Service]\nExecStart=/usr/bin/env PATH=/usr/bin:${PATH} /usr/bin/dockerd --host=fd:// $DOCKER_OPTS\n",
  ],
  [
    "the image's own files",
    "[Service]\nExecStart=/usr/bin/env containerd --config ${TORCX_UNPACKDIR}${TORCX_IMAGEDIR}/usr/share/containerd/config.toml\n",
    "[Service]\nExecStart=/usr/bin/env containerd --config /usr/share/containerd/config.toml\n",
  ],
  [
    "the image's folder as text",
    "[Service]\nExecStartPre=-/sbin/insmod ${TORCX_UNPACKDIR}/docker/lib/modules/%v/extra/x.ko\n",
    "[Service]\nExecStartPre=-/sbin/insmod /usr/lib/modules/%v/extra/x.ko\n",
  ],
  [
    "folders that move with their files",
    "[Service]\nExecStart=${TORCX_UNPACKDIR}${TORCX_IMAGEDIR}/sbin/runc ${TORCX_UNPACKDIR}$TORCX_IMAGEDIR/bin/x:${TORCX_UNPACKDIR}/docker/usr/sbin/y\n",
    "[Service]\nExecStart=/usr/bin/runc /usr/bin/x:/usr/bin/y\n",
  ],
  [
    "another image's name is a folder",
    "[Service]\nExecStart=${TORCX_UNPACKDIR}/dockerx/y\n",
    "[Service]\nExecStart=/dockerx/y\n",
  ],
  [
    "words of their own",
    "[Service]\nExecStart=/x $TORCX_BINDIR ${TORCX_UNPACKDIR} ${TORCX_IMAGEDIR} $TORCX_IMAGEDIR.\n",
    '[Service]\nExecStart=/x /usr/bin / "" .\n',
  ],
  [
    "for a shell",
    "[Service]\nExecStart=/bin/sh -c 'exec $${TORCX_BINDIR}/dockerd $$TORCX_BINDIR $$$${TORCX_BINDIR} $$HOME'\n",
    "[Service]\nExecStart=/bin/sh -c 'exec /usr/bin/dockerd /usr/bin $$/usr/bin $$HOME'\n",
  ],
  [
    "longer names stay",
    "[Service]\nExecStart=/x ${TORCX_BINDIRS} $TORCX_BINDIR_2\n",
    "[Service]\nExecStart=/x ${TORCX_BINDIRS} $TORCX_BINDIR_2\n",
  ],
  [
    "the folders as text",
    "[Service]\nEnvironment=CONTAINERD_CONFIG=/run/torcx/unpack/docker/usr/share/containerd/config.toml PATH=/run/torcx/bin:/usr/bin\n",
    "[Service]\nEnvironment=CONTAINERD_CONFIG=/usr/share/containerd/config.toml PATH=/usr/bin:/usr/bin\n",
  ],
  [
    "in a path unit and a timer",
    "[Path]\nPathExists=/run/torcx/unpack/docker/bin/x\n[Timer]\nUnit=x.service\n",
    "[Path]\nPathExists=/usr/bin/x\n[Timer]\nUnit=x.service\n",
  ],
  [
    "over continuation lines, comments kept",
    "[Service]\nExecStart=/usr/bin/env \\\n  PATH=${TORCX_BINDIR}:${PATH} \\\n  # ${TORCX_BINDIR} is where it is\n  ${TORCX_BINDIR}/dockerd\n",
    "[Service]\nExecStart=/usr/bin/env \\\n  PATH=/usr/bin:${PATH} \\\n  # ${TORCX_BINDIR} is where it is\n  /usr/bin/dockerd\n",
  ],
  [
    "a drop-in that resets",
    "[Service]\nExecStart=\nExecStart=/usr/bin/env PATH=${TORCX_BINDIR}:${PATH} ${TORCX_BINDIR}/containerd --config ${CONTAINERD_CONFIG}\n",
    "[Service]\nExecStart=\nExecStart=/usr/bin/env PATH=/usr/bin:${PATH} /usr/bin/containerd --config ${CONTAINERD_CONFIG}\n",
  ],
  [
    "a template",
    "[Unit]\nAfter=torcx.target net@%i.service\n[Service]\nExecStart=${TORCX_BINDIR}/wg-quick up %i\n",
    "[Unit]\nAfter=net@%i.service\n[Service]\nExecStart=/usr/bin/wg-quick up %i\n",
  ],
  ["bytes that are no UTF-8", "[Unit]\nDescription=caf\xe9\nAfter=torcx.target\n", "[Unit]\nDescription=caf\xe9\n"],
  ["what is no unit file", "torcx.target\n\0\n[", "torcx.target\n\0\n["],
  ["nothing", "", ""],
];

describe("a unit loses Torcx and nothing else", () => {
  test.each(rows)("%s", (_, before, after) => {
    expect(rewrite(before).text).toBe(after);
    // Once more changes nothing.
    expect(rewrite(after).text).toBe(after);
  });

  test("a quoted word over two lines ends up on one, with the same meaning", () => {
    const text = '[Service]\nEnvironment="TORCX_IMAGEDIR=/a \\\n b" C=1\n';
    expect(rewrite(text).text).toBe("[Service]\nEnvironment=C=1\n");
  });

  test("whatever it is, without Torcx every byte stays", () => {
    const words = fc.constantFrom(
      "[Unit]",
      "[Service]",
      "After=",
      "ExecStart=",
      "Environment=",
      " ",
      "\\",
      "\n",
      "\r\n",
      "#",
      '"',
      "'",
      "$",
      "{",
      "a=b",
      "x",
    );
    const text = (word: fc.Arbitrary<string>) =>
      fc.array(word, { maxLength: 40 }).map((parts) => `[Service]\n${parts.join("")}`);
    fc.assert(
      fc.property(text(words), (unit) => {
        expect(rewrite(unit).text).toBe(unit);
      }),
      { numRuns: 500 },
    );
  });

  test("what is left is told", () => {
    const text = "[Unit]\n# torcx\nAfter=torcx-setup.service\n[Service]\nExecStart=/x ${TORCX_PROFILE_PATH}\n";
    expect(rewrite(text).leftovers).toEqual(["After=torcx-setup.service", "ExecStart=/x ${TORCX_PROFILE_PATH}"]);
  });

  test("scripts that read the variables go on having them (E02)", () => {
    const text = "[Service]\nEnvironmentFile=/run/metadata/torcx\nExecStart=/usr/lib/x/start\n";
    expect(rewrite(text, true).text).toBe(
      "[Service]\nEnvironment=TORCX_BINDIR=/usr/bin TORCX_UNPACKDIR=/ TORCX_IMAGEDIR=\nExecStart=/usr/lib/x/start\n",
    );
    expect(rewrite("[Service]\nExecStart=/usr/lib/x/start\n", true).text).not.toContain("TORCX");
  });

  test("the image's name comes from its units", () => {
    expect(imagesOf('[Service]\nEnvironment=A=b "TORCX_IMAGEDIR=/docker"\nEnvironment=TORCX_IMAGEDIR=/x/y\n')).toEqual([
      "docker",
    ]);
  });
});
