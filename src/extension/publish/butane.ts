import { type NamedText, madeBy } from "./sysupdate.ts";

/** What a Butane snippet installs. */
export interface ButaneSource {
  readonly name: string;
  /** File name of the published image: `b3sum-1.5-x86-64.raw`. */
  readonly image: string;
  readonly sha256: string;
  /** Folder on a server, ending in a slash. */
  readonly url: string;
  /** The sysupdate definition, where there is one: the snippet enables updates then. */
  readonly update?: NamedText;
}

/** A Butane config (Flatcar, 1.0.0) that installs the extension at the first boot and keeps it up to date. */
export function formatButane(source: ButaneSource): string {
  const { name, image, sha256, url, update } = source;
  const stored = `/opt/extensions/${name}/${image}`;
  const lines = [
    madeBy,
    "variant: flatcar",
    "version: 1.0.0",
    "storage:",
    "  files:",
    `    - path: ${text(stored)}`,
    "      mode: 0644",
    "      contents:",
    `        source: ${text(url + image)}`,
    "        verification:",
    `          hash: ${text(`sha256-${sha256}`)}`,
  ];
  if (update !== undefined)
    lines.push(
      `    - path: ${text(`/etc/sysupdate.${name}.d/${update.name}`)}`,
      "      mode: 0644",
      "      contents:",
      "        inline: |",
      ...update.text
        .trimEnd()
        .split("\n")
        .map((line) => (line === "" ? "" : `          ${line}`)),
    );
  lines.push(
    "  links:",
    `    - path: ${text(`/etc/extensions/${name}.raw`)}`,
    `      target: ${text(stored)}`,
    "      hard: false",
  );
  if (update !== undefined)
    lines.push(
      "systemd:",
      "  units:",
      "    - name: systemd-sysupdate.timer",
      "      enabled: true",
      "    - name: systemd-sysupdate.service",
      "      dropins:",
      `        - name: ${text(`${name}.conf`)}`,
      "          contents: |",
      "            [Service]",
      `            ExecStartPre=-/usr/lib/systemd/systemd-sysupdate -C ${name} update`,
      "            ExecStartPost=-/usr/bin/systemd-sysext refresh",
    );
  return `${lines.join("\n")}\n`;
}

/** A YAML scalar; names and URLs are quoted as JSON strings, which YAML reads alike. */
const text = (value: string): string => (/^[A-Za-z0-9/._-]+$/.test(value) ? value : JSON.stringify(value));
