import { describe, expect, it } from "vitest";
import { parseReference, wordReference } from "../../../src/oci/reference.ts";

const hex = "0123456789abcdef".repeat(4);
const digest = `sha256:${hex}`;

// The rules and most of the names of github.com/distribution/reference's tests, in our words.
const normalised: readonly (readonly [string, string])[] = [
  ["alpine", "docker.io/library/alpine:latest"],
  ["alpine:3.20", "docker.io/library/alpine:3.20"],
  [`alpine@${digest}`, `docker.io/library/alpine@${digest}`],
  [`alpine:3.20@${digest}`, `docker.io/library/alpine:3.20@${digest}`],
  ["library/alpine", "docker.io/library/alpine:latest"],
  ["docker.io/alpine", "docker.io/library/alpine:latest"],
  ["index.docker.io/alpine", "docker.io/library/alpine:latest"],
  ["index.docker.io/library/alpine", "docker.io/library/alpine:latest"],
  ["docker.io/library/alpine", "docker.io/library/alpine:latest"],
  ["docker/docker", "docker.io/docker/docker:latest"],
  ["debian/debian:sid", "docker.io/debian/debian:sid"],
  ["arm64v8/alpine", "docker.io/arm64v8/alpine:latest"],
  ["127.0.0.1:5000/docker/docker", "127.0.0.1:5000/docker/docker:latest"],
  ["127.0.0.1:5000/library/debian", "127.0.0.1:5000/library/debian:latest"],
  ["127.0.0.1:5000/debian", "127.0.0.1:5000/debian:latest"],
  ["127.0.0.1/debian", "127.0.0.1/debian:latest"],
  ["localhost/foo", "localhost/foo:latest"],
  ["localhost:5000/foo:tag", "localhost:5000/foo:tag"],
  // Without a slash this is a tag, not a port.
  ["localhost:5000", "docker.io/library/localhost:5000"],
  ["[::1]:5000/foo", "[::1]:5000/foo:latest"],
  ["[2001:db8::1]/foo", "[2001:db8::1]/foo:latest"],
  ["test_com/foo", "docker.io/test_com/foo:latest"],
  ["test.example:8080/foo/bar/baz:v1", "test.example:8080/foo/bar/baz:v1"],
  ["Uppercase/lower", "Uppercase/lower:latest"],
  ["xn--n3h.example/foo", "xn--n3h.example/foo:latest"],
  ["b.gcr.example/a--b/c__d.e_f", "b.gcr.example/a--b/c__d.e_f:latest"],
  ["docker.io/1a/a", "docker.io/1a/a:latest"],
  ["foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"],
  ["a-b.example/c:_tag.with-all", "a-b.example/c:_tag.with-all"],
  ["docker://test.example/a:b", "test.example/a:b"],
  ["docker://alpine", "docker.io/library/alpine:latest"],
  [`test.example/a@sha512:${hex}${hex}`, `test.example/a@sha512:${hex}${hex}`],
  [`x.example/${"a".repeat(255)}`, `x.example/${"a".repeat(255)}:latest`],
  [`foo:${"t".repeat(128)}`, `docker.io/library/foo:${"t".repeat(128)}`],
];

const refused: readonly string[] = [
  "",
  ":justtag",
  `@${digest}`,
  "Uppercase",
  "docker.io/Uppercase/foo",
  "a//b",
  "-foo/bar",
  "foo/-bar",
  "foo-/bar",
  "foo/bar-",
  "-foo.example/bar",
  "a.example:port/b",
  "a.example:/b",
  "foo bar",
  "https://github.example/docker/docker",
  "docker///docker",
  "docker.io/docker/Docker",
  "docker.io/docker///docker",
  "foo:",
  "foo:tag:tag",
  "foo:-tag",
  `foo:${"t".repeat(129)}`,
  `x.example/${"a".repeat(256)}`,
  hex,
  "foo@sha256:abc",
  `foo@sha256:${hex.toUpperCase()}`,
  `foo@md5:${hex}`,
  `foo@sha256:${hex}0`,
  "foo@",
  "a___b",
  "a..b",
  "a.-b",
  "foo__/bar",
  "oci:",
  "oci::tag",
  "dir:",
  "docker:",
  "[fe80::1%eth0]/foo",
  "b\u0000ad",
  "bad\n",
];

describe("names of images", () => {
  it.each(normalised)("%s is %s", (text, full) => {
    const reference = parseReference(text);
    expect(reference.kind).toBe("registry");
    expect(wordReference(reference)).toBe(full);
    expect(parseReference(full)).toEqual(reference);
  });

  it.each(refused)("%j is none", (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ name: "FlixwrapError" }));
  });

  it.each([
    ["oci:./layout", { kind: "oci", path: "./layout" }],
    ["oci:/a/layout:tag", { kind: "oci", path: "/a/layout", name: "tag" }],
    ["oci:layout:docker.io/library/x:1", { kind: "oci", path: "layout", name: "docker.io/library/x:1" }],
    ["oci-archive:a.tar:x", { kind: "oci-archive", path: "a.tar", name: "x" }],
    ["docker-archive:/a b.tar", { kind: "docker-archive", path: "/a b.tar" }],
    ["dir:rootfs", { kind: "dir", path: "rootfs" }],
    ["dir:/with:colon", { kind: "dir", path: "/with:colon" }],
    ["tar:x.tar.gz", { kind: "tar", path: "x.tar.gz" }],
    ["tar:-", { kind: "stdin" }],
    ["-", { kind: "stdin" }],
    ["./rootfs", { kind: "path", path: "./rootfs" }],
    ["../rootfs", { kind: "path", path: "../rootfs" }],
    [".", { kind: "path", path: "." }],
    ["/srv/root:fs", { kind: "path", path: "/srv/root:fs" }],
    ["rootfs/", { kind: "path", path: "rootfs/" }],
    ["docker-daemon:alpine:3", { kind: "docker-daemon", name: "alpine:3" }],
    ["podman:localhost/x", { kind: "podman", name: "localhost/x" }],
  ])("%s tells its source by its prefix", (text, reference) => {
    expect(parseReference(text)).toEqual(reference);
    if (reference.kind !== "stdin") expect(parseReference(wordReference(parseReference(text)))).toEqual(reference);
  });

  it.each([
    ["podman:5000", { kind: "registry", registry: "docker.io", repository: "library/podman", tag: "5000" }],
    ["oci:5000/x", { kind: "registry", registry: "oci:5000", repository: "x", tag: "latest" }],
  ])("%s is a host or a tag, not a prefix", (text, reference) => {
    expect(parseReference(text)).toEqual(reference);
  });
});
