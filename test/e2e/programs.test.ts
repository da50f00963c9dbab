import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { busyboxHost, glibcHost, type Host, merge } from "../support/isolated-host.ts";
import { flixFolder, scratch } from "../support/program.ts";

/** One program, what of the image it needs, and a job that it does on a host which has none of it. */
interface Row {
  readonly name: string;
  readonly paths: readonly string[];
  readonly job: string;
  readonly output: RegExp;
}

const triplet = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";

const rows: readonly Row[] = [
  { name: "jq", paths: ["/usr/bin/jq"], job: `echo '{"a":[1,2]}' | jq -c '.a|map(.+1)'`, output: /^\[2,3\]$/ },
  {
    name: "sqlite3",
    paths: ["/usr/bin/sqlite3"],
    job: `sqlite3 /tmp/db 'create table t(a); insert into t values (6*7); select a from t'`,
    output: /^42$/,
  },
  {
    name: "git",
    paths: ["/usr/bin/git", "--with-binaries", "/usr/lib/git-core/*", "/usr/share/git-core"],
    job: "cd /tmp && git init -q a && cd a && git config user.email a@b && git config user.name n && echo x >f && git add f && git commit -qm message && cd .. && git clone -q file:///tmp/a b && cat b/f && git -C b log --format=%s",
    output: /^x\nmessage$/,
  },
  {
    name: "python3",
    paths: ["/usr/bin/python3", "/usr/lib/python3.11", "/usr/lib/python3"],
    job: `python3 -c 'import ssl, sqlite3, ctypes; print(ssl.create_default_context().verify_mode.name, sqlite3.connect(":memory:").execute("select 6*7").fetchone()[0], ctypes.CDLL(None).getpid() > 0)'`,
    output: /^CERT_REQUIRED 42 True$/,
  },
  {
    name: "perl",
    paths: ["/usr/bin/perl", `/usr/lib/${triplet}/perl-base`, `/usr/lib/${triplet}/perl`, "/usr/share/perl"],
    job: `perl -MDigest::MD5=md5_hex -MPOSIX -e 'print md5_hex("a"), " ", POSIX::floor(2.7), "\\n"'`,
    output: /^0cc175b9c0f1b6a831c399e269772661 2$/,
  },
  {
    name: "curl",
    paths: ["/usr/bin/curl", "/usr/bin/openssl"],
    job: `cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -days 1 -subj /CN=testhost -addext subjectAltName=DNS:testhost -config /dev/null 2>/dev/null &&
      (openssl s_server -accept 4433 -key k -cert c -www >/dev/null 2>&1 &) && sleep 1 && curl -s --cacert c https://testhost:4433/ | grep -c 'TLSv1.3'; killall openssl`,
    output: /^[1-9]\d*$/,
  },
  {
    name: "ffmpeg",
    paths: ["/usr/bin/ffmpeg"],
    job: "ffmpeg -loglevel error -f lavfi -i testsrc=duration=0.2 -c:v libx264 /tmp/x.mp4 && ffmpeg -i /tmp/x.mp4 -f null - 2>&1 | grep -o 'Video: h264' | head -n 1",
    output: /^Video: h264$/,
  },
  {
    name: "imagemagick",
    paths: [
      "/usr/bin/convert",
      `/usr/lib/${triplet}/ImageMagick-6.9.11`,
      "/etc/ImageMagick-6:/usr/share/ImageMagick-6/etc",
    ],
    job: "MAGICK_CONFIGURE_PATH=/usr/share/ImageMagick-6/etc convert -size 3x2 xc:red /tmp/x.png && od -An -tx1 -N8 /tmp/x.png",
    output: /^ ?89 50 4e 47 0d 0a 1a 0a$/,
  },
  {
    name: "postgresql",
    paths: ["/usr/lib/postgresql/15", "/usr/share/postgresql/15", "/usr/share/zoneinfo"],
    job: `mkdir /tmp/d && chown 1501:2502 /tmp/d && su daemon -c "cd /tmp/d && B=/usr/lib/postgresql/15/bin && \\$B/initdb -D x --locale=C >/dev/null 2>&1 && \\$B/pg_ctl -D x -o '-k /tmp/d' -l log -w start >/dev/null && \\$B/psql -h /tmp/d -d postgres -Atc 'select 6*7'; \\$B/pg_ctl -D x stop >/dev/null"`,
    output: /^42$/,
  },
  {
    name: "redis",
    paths: ["/usr/bin/redis-server", "/usr/bin/redis-cli"],
    job: `(redis-server --save '' >/tmp/log 2>&1 &); sleep 1; redis-cli set a 5; redis-cli incr a; redis-cli shutdown nosave`,
    output: /^OK\n6$/,
  },
  {
    name: "vim",
    paths: ["/usr/bin/vim", "/usr/share/vim"],
    job: `printf 'b\\na\\n' >/tmp/f; vim -es -u NONE -c '%sort' -c wq /tmp/f </dev/null; cat /tmp/f`,
    output: /^a\nb$/,
  },
  {
    name: "tmux",
    paths: ["/usr/bin/tmux", "/lib/terminfo:/usr/share/terminfo", "/usr/lib/locale/C.utf8"],
    job: `export LC_ALL=C.UTF-8 TERM=linux; tmux -S /tmp/s new -d 'echo inside >/tmp/o; sleep 2'; sleep 1; tmux -S /tmp/s ls | grep -c windows; cat /tmp/o; tmux -S /tmp/s kill-server`,
    output: /^1\ninside$/,
  },
  {
    name: "htop",
    paths: ["/usr/bin/htop", "/lib/terminfo:/usr/share/terminfo"],
    job: `(sleep 1; echo q) | TERM=linux timeout 5 htop | tr -d '\\033' | grep -o 'Load average' | head -n 1`,
    output: /^Load average$/,
  },
  {
    name: "rsync",
    paths: ["/usr/bin/rsync"],
    job: "mkdir /tmp/a /tmp/b && echo hi >/tmp/a/f && rsync -a /tmp/a/ /tmp/b/ && cat /tmp/b/f",
    output: /^hi$/,
  },
  {
    name: "openssh-client",
    paths: ["/usr/bin/ssh-keygen", "/usr/bin/ssh"],
    job: `ssh-keygen -q -t ed25519 -N '' -f /tmp/k && echo hi | ssh-keygen -q -Y sign -f /tmp/k -n test | head -n 1; ssh -G -F /dev/null testhost | grep ^hostname`,
    output: /^-----BEGIN SSH SIGNATURE-----\nhostname testhost$/,
  },
  {
    name: "nodejs",
    paths: ["/usr/bin/node", "/usr/share/nodejs"],
    job: `node -e 'const c = require("crypto"); console.log(c.createHash("md5").update("a").digest("hex"), new Intl.NumberFormat("de").format(1234.5))'`,
    output: /^0cc175b9c0f1b6a831c399e269772661 1\.234,5$/,
  },
  {
    name: "ruby",
    paths: ["/usr/bin/ruby", "/usr/lib/ruby", `/usr/lib/${triplet}/ruby`, "/usr/share/rubygems-integration"],
    job: `ruby -e 'require "json"; require "openssl"; puts JSON.generate([6*7]), OpenSSL::Digest::MD5.hexdigest("a")'`,
    output: /^\[42\]\n0cc175b9c0f1b6a831c399e269772661$/,
  },
  {
    name: "gdb",
    paths: ["/usr/bin/gdb", "/usr/share/gdb", "/usr/lib/python3.11", "/usr/lib/python3"],
    job: `gdb -q -batch -ex 'print 6*7' -ex 'python print(7*6)'`,
    output: /^\$1 = 42\n42$/,
  },
  {
    name: "tcpdump",
    paths: ["/usr/bin/tcpdump"],
    job: `(sleep 1; ping -c 1 127.0.0.1 >/dev/null) & tcpdump -Z root -n -c 1 -i lo icmp 2>/dev/null | grep -o 'ICMP echo request'`,
    output: /^ICMP echo request$/,
  },
  {
    name: "gnupg",
    paths: ["/usr/bin/gpg", "/usr/bin/gpg-agent"],
    job: `mkdir -m 700 /tmp/g; export GNUPGHOME=/tmp/g; gpg --batch --passphrase '' --quick-gen-key a@b 2>/dev/null; echo x | gpg -s 2>/dev/null | gpg --verify 2>&1 | grep -c 'Good signature'`,
    output: /^1$/,
  },
];

const packages =
  "git python3 perl curl openssl ffmpeg imagemagick postgresql-15 redis-server sqlite3 vim tmux htop jq rsync openssh-client nodejs ruby gdb tcpdump gnupg".split(
    " ",
  );

const work = scratch();
const hosts: readonly [string, (root: string) => Host][] = [
  ["without any library", busyboxHost],
  ["with a newer glibc", (root) => glibcHost(root, "trixie")],
];

describe.each(rows)("$name", ({ name, paths, job, output }) => {
  const extension = join(work, name);

  beforeAll(() => {
    // Libraries are found through links that the packages' scripts make, so this root is configured.
    const root = debianRoot(packages, { suite: "bookworm", configured: true });
    const { status, stderr } = flixFolder(extension, root, name, ["--quiet", ...paths]);
    expect(stderr).not.toMatch(/^flix: /m);
    expect(status).toBe(0);
  });

  test.each(hosts)("does its job on a host %s", (kind, makeHost) => {
    const host = makeHost(join(work, `${name} ${kind}`));
    merge(host, extension);
    const { stdout, stderr } = host.run(["sh", "-c", job], { env: { HOME: "/tmp" } });
    expect(`${stdout.trim()}${output.test(stdout.trim()) ? "" : `\n${stderr}`}`).toMatch(output);
  });
});
