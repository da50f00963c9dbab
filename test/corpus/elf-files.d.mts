export function listElfFiles(folders: readonly string[], options?: { largest?: number; every?: boolean }): string[];
export function sample<T>(items: readonly T[], count: number, seed: number): T[];
