/** One row per option of `torcx` that no other converter has, in the shape of src/cli/options. */
export const torcxOptionRows = [
  {
    flags: "--scan <root>",
    help: "convert nothing; list what the host at ROOT (/) still has of Torcx, and what to do about each",
  },
] as const;
