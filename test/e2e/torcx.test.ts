import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

/** The store of a Flatcar host's vendor profile, as the facts have it; `/bin/busybox` stands in for every program. */
function vendorImage(folder: string): string {
  const files: Record<string, string> = {
    ".torcx/manifest.json": JSON.stringify({
      kind: "image-manifest-v0",
      value: {
        bin: ["/bin/docker", "/bin/dockerd", "/bin/containerd"],
        units: ["/lib/systemd/system/docker.service", "/lib/systemd/system/multi-user.target.wants"],
      },
    }),
    "lib/systemd/system/docker.service":
      "[Unit]\nAfter=containerd.service torcx.target\nRequires=torcx.target\n\n[Service]\nEnvironmentFile=-/run/metadata/torcx\n" +
      "ExecStart=/usr/bin/env PATH=${TORCX_BINDIR}:${PATH} ${TORCX_BINDIR}/dockerd --host=fd://\n",
  };
  const root = join(folder, "image");
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  mkdirSync(join(root, "bin"));
  for (const name of ["docker", "dockerd", "containerd"]) sh(`cp /bin/busybox ${root}/bin/${name}`);
  mkdirSync(join(root, "lib/systemd/system/multi-user.target.wants"));
  symlinkSync("../docker.service", join(root, "lib/systemd/system/multi-user.target.wants/docker.service"));
  const archive = join(folder, "docker:com.coreos.cl.torcx.tgz");
  sh(`tar --force-local -C ${root} -czf '${archive}' .`);
  return archive;
}

test("a vendor's Torcx image becomes an extension, by the name with a colon that it has", () => {
  const work = scratch();
  const image = vendorImage(work);
  const args = [
    "torcx",
    "--butane",
    "--update-url",
    "https://example.org/docker/",
    "-o",
    join(work, "docker.raw"),
    image,
    "docker",
  ];
  const { status, stdout, stderr } = flixwrap(args, { cwd: work });
  expect(stderr).toMatch(/^notice +mask: ln -sfn \/dev\/null \/etc\/extensions\/docker-flatcar\.raw/m);
  expect(status).toBe(0);
  expect(stdout.split("\n")).toContain(join(work, "docker.torcx.butane.yaml"));
  expect(readFileSync(join(work, "docker.torcx.butane.yaml"), "utf8")).toContain(
    "/etc/systemd/system-generators/torcx-generator",
  );

  sh(`unsquashfs -q -n -d ${work}/tree ${work}/docker.raw >/dev/null`);
  expect(sh(`cd ${work}/tree/usr/bin && ls`)).toBe("containerd\ndocker\ndockerd\n");
  const unit = readFileSync(join(work, "tree/usr/lib/systemd/system/docker.service"), "utf8");
  expect(unit).toBe(
    "[Unit]\nAfter=containerd.service\n\n[Service]\nExecStart=/usr/bin/env PATH=/usr/bin:${PATH} /usr/bin/dockerd --host=fd://\n",
  );
  expect(sh(`cat ${work}/tree/usr/lib/systemd/system/multi-user.target.d/*.conf`)).toContain("Upholds=docker.service");
  expect(sh(`cat ${work}/tree/usr/lib/extension-release.d/extension-release.docker`)).toContain(
    "EXTENSION_RELOAD_MANAGER=1",
  );
});

test("--scan tells what a host still has of Torcx", () => {
  const work = scratch();
  mkdirSync(join(work, "etc/systemd/system/docker.service.d"), { recursive: true });
  writeFileSync(
    join(work, "etc/systemd/system/docker.service.d/10-x.conf"),
    "[Service]\nEnvironment=A=${TORCX_BINDIR}\n",
  );
  mkdirSync(join(work, "etc/torcx"));
  writeFileSync(join(work, "etc/torcx/next-profile"), "mine\n");
  const { status, stdout } = flixwrap(["torcx", "--scan", work]);
  expect(stdout).toMatch(/10-x\.conf/);
  expect(stdout).toMatch(/mine/);
  expect(status).toBe(0);
});

test.each([
  ["no image at all", ["/nowhere.torcx.tgz", "docker"], 1, /nowhere\.torcx\.tgz/],
  ["a damaged one", ["damaged", "docker"], 1, /damaged/],
  ["no name", ["/nowhere.torcx.tgz"], 2, /needs a Torcx image and a name/],
])("%s is told in one line", (_, args, wanted, message) => {
  const work = scratch();
  writeFileSync(join(work, "damaged"), Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3]));
  const { status, stderr } = flixwrap(["torcx", ...args], { cwd: work });
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toMatch(message);
  expect(status).toBe(wanted);
});
