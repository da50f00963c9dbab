/**
 * File names are bytes; in this program they are strings. Bytes that are not valid UTF-8 become the lone
 * surrogates U+DC80..U+DCFF (the convention of Python's `surrogateescape`, PEP 383), so that every name
 * survives the way in and out unchanged and ordinary names read as they should.
 */

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes of a file name as a string; {@link encodeName} gives back exactly the same bytes. */
export function decodeName(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return decodeEscaped(bytes);
  }
}

/** The inverse of {@link decodeName}. */
export function encodeName(name: string): Buffer {
  if (!/[\udc80-\udcff]/u.test(name)) return Buffer.from(name, "utf8");
  return Buffer.concat(
    Array.from(name, (character) => {
      const code = character.codePointAt(0)!;
      return code >= 0xdc80 && code <= 0xdcff ? Buffer.of(code & 0xff) : Buffer.from(character, "utf8");
    }),
  );
}

/** Decodes the longest valid sequence at each position; a byte that starts none is escaped. */
function decodeEscaped(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at);
    if (length === 0) {
      text += String.fromCharCode(0xdc00 | bytes[at]!);
      at += 1;
    } else {
      text += strictUtf8.decode(bytes.subarray(at, at + length));
      at += length;
    }
  }
  return text;
}

function sequenceLength(bytes: Uint8Array, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
    try {
      strictUtf8.decode(bytes.subarray(at, at + length));
      return length;
    } catch {
      // Not a whole sequence yet; the next length may be.
    }
  }
  return 0;
}
