/**
 * Splits a value as systemd does (`extract_first_word()` with unquoting): at white space, with single and double
 * quotes around a part or a whole word, and C escapes. Unbalanced quotes give undefined.
 */
export function splitWords(value: string): readonly string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < value.length; at++) {
    const c = value[at]!;
    if (c === "\\") {
      const { text, length } = unescape(value, at);
      word = (word ?? "") + text;
      at += length - 1;
    } else if (quote !== "") {
      if (c === quote) quote = "";
      else word += c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= "";
    } else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + c;
  }
  if (quote !== "") return undefined;
  return word === undefined ? words : [...words, word];
}

const escapes: Readonly<Record<string, string>> = {
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  '"': '"',
  "'": "'",
  s: " ",
};

/** systemd.service(5), table "C escapes"; an unknown escape stands for itself. */
function unescape(value: string, at: number): { text: string; length: number } {
  const simple = escapes[value[at + 1] ?? ""];
  if (simple !== undefined) return { text: simple, length: 2 };
  const hex = /^\\x([0-9a-fA-F]{2})/.exec(value.slice(at, at + 4));
  if (hex !== null) return { text: String.fromCharCode(parseInt(hex[1]!, 16)), length: 4 };
  const octal = /^\\([0-7]{3})/.exec(value.slice(at, at + 4));
  if (octal !== null) return { text: String.fromCharCode(parseInt(octal[1]!, 8)), length: 4 };
  return { text: value.slice(at, at + 2), length: 2 };
}

/** A word so that {@link splitWords} gives it back; plain words stay plain. */
export function quoteWord(word: string): string {
  if (word !== "" && !/[\s"'\\]/.test(word)) return word;
  return `"${word.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n").replace(/\t/g, "\\t")}"`;
}
