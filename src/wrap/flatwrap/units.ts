/**
 * A service's text with its Exec lines calling the wrappers; `wrapperOf` knows the wrapper for a path of the root.
 * Other lines stay as they are (systemd.service(5): the program is the first word, after `@ - : + !`).
 */
export function useWrappers(unit: string, wrapperOf: (path: string) => string | undefined): string {
  return unit.replace(
    /^(Exec[A-Za-z]+[ \t]*=[ \t]*[-@:+!|]*)("?)(\/[^\s"]*)/gm,
    (line, before: string, quote: string, path: string) => {
      const wrapper = wrapperOf(path);
      return wrapper === undefined ? line : `${before}${quote}${wrapper}`;
    },
  );
}
