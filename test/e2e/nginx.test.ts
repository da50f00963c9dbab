import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { busyboxHost, glibcHost, merge } from "../support/isolated-host.ts";
import { flixwrap, scratch, sh } from "../support/program.ts";

test.each([
  ["without any library", busyboxHost],
  ["with a newer glibc", (root: string) => glibcHost(root, "trixie")],
])("Debian's nginx converts with its unit and its pages, and serves one on a host %s", (_, makeHost) => {
  const work = scratch();
  const root = debianRoot(["nginx-light"]);
  const unit = sh(`cd ${root} && find . -path '*/systemd/system/nginx.service'`).trim().slice(1);
  const extension = join(work, "nginx");
  const converted = flixwrap([
    ...["flix", "--format", "dir", "-o", extension, "--smoke", "nginx -v", `dir:${root}`, "nginx"],
    ...["/usr/sbin/nginx", "/usr/share/nginx", `${unit}:/usr/lib/systemd/system/nginx.service`],
  ]);
  expect(converted.stderr).toMatch(/^smoke +nginx -v: /m);
  expect(converted.status).toBe(0);
  // /usr/sbin is a link on many hosts; what was asked for there stands in /usr/bin, and that is said.
  expect(converted.stderr).toMatch(/warning +\/usr\/sbin\/nginx goes to \/usr\/bin\/nginx/);
  expect(readFileSync(join(extension, "usr/lib/systemd/system/nginx.service"), "utf8")).toBe(
    readFileSync(join(root, unit), "utf8").replaceAll("=/usr/sbin/nginx", "=/usr/bin/nginx"),
  );

  const host = makeHost(join(work, "host"));
  merge(host, extension);
  mkdirSync(join(work, "nginx-run"));
  const config = join(work, "nginx.conf");
  writeFileSync(
    config,
    `user root; pid ${work}/nginx-run/pid; error_log stderr; events {}
     http { access_log off; client_body_temp_path ${work}/nginx-run; fastcgi_temp_path ${work}/nginx-run; proxy_temp_path ${work}/nginx-run;
       scgi_temp_path ${work}/nginx-run; uwsgi_temp_path ${work}/nginx-run; server { listen 127.0.0.1:8080; root /usr/share/nginx/html; } }`,
  );
  const page = host.run(
    [
      "sh",
      "-c",
      `nginx -e stderr -c ${config} && wget -q -O - http://127.0.0.1:8080/; status=$?; nginx -e stderr -c ${config} -s stop; exit $status`,
    ],
    { shared: [work] },
  );
  expect(page.stderr).not.toMatch(/error|emerg|alert/);
  expect(page.stdout).toBe(readFileSync(join(root, "usr/share/nginx/html/index.html"), "utf8"));
  expect(page.status).toBe(0);
});

test("a smoke test that fails stops the build, with the program's own words", () => {
  const work = scratch();
  const { status, stderr } = flixwrap([
    "flix",
    "--quiet",
    "-o",
    join(work, "x.raw"),
    "--smoke",
    "nginx -t",
    `dir:${debianRoot(["nginx-light"])}`,
    "x",
    "/usr/sbin/nginx",
  ]);
  expect(stderr).toMatch(/the program fails inside the extension: nginx -t: got exit status 1\n(.*\n)*.*nginx\.conf/);
  expect(status).toBe(1);
  expect(sh(`ls -A ${work}`)).toBe("");
});
