/** The public API: what the command line does, as functions. Parts of their own: `flixwrap/elf`, `flixwrap/oci`. */
export { convert, type Outcome } from "./convert/convert.ts";
export type { ConvertOptions, Request } from "./convert/request.ts";
export { type Context, type ProgressEvent, quietContext } from "./core/context.ts";
export { type ErrorCode, type ErrorFacts, FlixwrapError } from "./core/errors.ts";
export type { Action, Plan } from "./extension/plan.ts";
export type { ImageFile } from "./pack/pack.ts";
