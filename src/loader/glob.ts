/**
 * One path component of a glob(3) pattern: the name itself when nothing in it is special, else a test for names.
 * Not minimatch, whose expressions backtrack: ld.so.conf comes from an image, and `*a*a*a*a*b` must not stop us.
 */
export function parseGlob(pattern: string): string | ((name: string) => boolean) {
  const tokens = tokenise(pattern);
  if (tokens.every((token) => typeof token === "string")) return tokens.join("");
  return (name) => (name.startsWith(".") && tokens[0] !== "." ? false : matchTokens(Array.from(name), tokens));
}

/** The same pattern for {@link matchComponent}. */
export const parseComponent = (pattern: string): readonly Token[] => tokenise(pattern);

/** Whether a name matches, one with a leading dot as any other; a star alone stands for no empty name. */
export const matchComponent = (name: string, tokens: readonly Token[]): boolean =>
  name === "" ? tokens.length === 0 : matchTokens(Array.from(name), tokens);

/** A piece of a pattern: a character as it is, any number of characters, or a test of one. */
export type Token = string | typeof star | ((character: string) => boolean);
const star = Symbol("*");

function tokenise(pattern: string): readonly Token[] {
  return Array.from(pattern.matchAll(/\\(.)|(\*+)|(\?)|\[([!^]?)(\]?[^\]]*)\]|(.)/gsu), (match): Token => {
    const [, escaped, stars, question, not, set, plain] = match;
    if (stars !== undefined) return star;
    if (question !== undefined) return () => true;
    if (set !== undefined) return oneOf(set, not !== "");
    return escaped ?? plain!;
  });
}

/** A bracket expression without its brackets: `a-z_`. Ranges compare code points, as in the C locale. */
function oneOf(set: string, negated: boolean): (character: string) => boolean {
  const ranges = Array.from(
    set.matchAll(/(.)-(.)|(.)/gsu),
    ([, low, high, only]) => [low ?? only!, high ?? only!] as const,
  );
  return (character) => ranges.some(([low, high]) => low <= character && character <= high) !== negated;
}

/** Two pointers and one place to return to, the last star: never more than name times pattern steps. */
function matchTokens(name: readonly string[], tokens: readonly Token[]): boolean {
  let [at, token, starToken, starAt] = [0, 0, -1, 0];
  while (at < name.length) {
    const wanted = tokens[token];
    if (wanted === star) {
      [starToken, starAt] = [token, at];
      token++;
    } else if (wanted === name[at] || (typeof wanted === "function" && wanted(name[at]!))) {
      at++;
      token++;
    } else if (starToken >= 0) {
      starAt++;
      [at, token] = [starAt, starToken + 1];
    } else {
      return false;
    }
  }
  return tokens.slice(token).every((rest) => rest === star);
}
