import { describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { findPluginFolders, resolveClosure } from "../../../src/loader/index.ts";
import { fakeRoot, loaderStrings } from "./fake-root.ts";

const ld = "/lib64/ld-linux-x86-64.so.2";
const plugin = "\x7fELF plug-in";

/** The strings are those of Debian 12's packages, as `strings -a` shows them. */
const { rootfs, options } = fakeRoot(
  {
    [ld]: {},
    "/usr/bin/p": { interpreter: ld, needed: ["libcrypto.so.3", "libpam.so.0", "libx.so"] },
    "/usr/bin/python3.11": { interpreter: ld },
    "/usr/bin/perl": { interpreter: ld },
    "/usr/lib64/libcrypto.so.3": {},
    "/usr/lib64/libpam.so.0": {},
    "/usr/lib64/libx.so": {},
  },
  {
    [ld]: loaderStrings.glibc,
    "/usr/bin/p": "x\0/usr/lib64/myplugins\0/usr/share/text\0/etc/a:/opt/list:/opt/b\0/usr/lib64/\0/usr/lib\0",
    "/usr/bin/perl": "\0/usr/lib64/perl-base\0",
    "/usr/lib64/libcrypto.so.3": '\0MODULESDIR: "/usr/lib64/ossl-modules"\0/usr/lib64/engines-3\0',
    "/usr/lib64/libpam.so.0": "\0/lib64/security/\0/lib64/security\0",
    "/usr/lib64/myplugins/one.so": plugin,
    "/usr/lib64/myplugins/text.so": "no ELF file",
    "/usr/lib64/myplugins/loaded.so": { target: "../libx.so" },
    "/usr/lib64/myplugins/deep/two.so": plugin,
    "/usr/share/text/readme": "text",
    "/opt/list/three.so.1": plugin,
    "/usr/lib/odd.so": plugin,
    "/usr/lib64/ossl-modules/legacy.so": plugin,
    "/lib64/security/pam_unix.so": plugin,
    "/usr/lib/python3.11/lib-dynload/_ssl.cpython-311.so": plugin,
    "/usr/lib64/perl-base/auto/POSIX/POSIX.so": plugin,
  },
);

describe("folders of plug-ins", () => {
  test.each([
    {
      program: "/usr/bin/p",
      found: [
        "/usr/bin/p: /usr/lib64/myplugins, named in the object: /usr/lib64/myplugins/one.so",
        "/usr/bin/p: /opt/list, named in the object: /opt/list/three.so.1",
        "/usr/lib64/libcrypto.so.3: /usr/lib64/ossl-modules, OpenSSL providers, chosen by openssl.cnf (OPENSSL_MODULES): /usr/lib64/ossl-modules/legacy.so",
        "/usr/lib64/libpam.so.0: /lib64/security, PAM modules, chosen by /etc/pam.d: /lib64/security/pam_unix.so",
      ],
    },
    {
      program: "/usr/bin/python3.11",
      found: [
        "/usr/bin/python3.11: /usr/lib/python3.11, Python's library, without which it does not start: /usr/lib/python3.11/lib-dynload/_ssl.cpython-311.so",
      ],
    },
    {
      program: "/usr/bin/perl",
      found: [
        "/usr/bin/perl: /usr/lib64/perl-base, compiled Perl modules (PERL5LIB): /usr/lib64/perl-base/auto/POSIX/POSIX.so",
      ],
    },
  ])("of $program", ({ program, found }) => {
    const closure = resolveClosure(rootfs, [rootPath(program)], options);
    expect(closure.missing).toEqual([]);
    const folders = findPluginFolders(rootfs, closure);
    expect(
      folders.map(({ object, folder, why, libraries }) => `${object}: ${folder}, ${why}: ${libraries.join()}`),
    ).toEqual(found);
  });

  test("of which some are likely to be missed: those of objects that are known for it", () => {
    const likely = (program: string) =>
      findPluginFolders(rootfs, resolveClosure(rootfs, [rootPath(program)], options), "likely").map(
        ({ folder }) => folder,
      );
    // libcrypto's are not: nobody here calls OSSL_PROVIDER_load.
    expect(likely("/usr/bin/p")).toEqual(["/lib64/security"]);
    expect(likely("/usr/bin/perl")).toEqual(["/usr/lib64/perl-base"]);
  });
});
